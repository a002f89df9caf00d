"""What people type about themselves and each other."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts, validate_password
from django.core.exceptions import ValidationError

from webapp.accounts.models import Role, Team, User
from webapp.accounts.services import MOST_LIMIT, normal_email
from webapp.text import plain_line

EXPIRIES = ((24, "1 day"), (72, "3 days"), (168, "1 week"))
PASSWORD_HINT = " ".join(password_validators_help_texts())
DIFFERENT = "The two passwords differ. Type the same one twice."


class PlainField(forms.CharField):
    """One line without control characters or direction marks."""

    def to_python(self, value: Any) -> str:
        return plain_line(super().to_python(value) or "", limit=10_000)


class AddressField(forms.EmailField):
    def to_python(self, value: Any) -> str:
        return normal_email(super().to_python(value) or "")


def new_password_field() -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(label="New password", strip=False, max_length=128, widget=widget, help_text=PASSWORD_HINT)


def again_field() -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(label="The same again", strip=False, max_length=128, widget=widget)


class SignInForm(forms.Form):
    email = AddressField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}))
    password = forms.CharField(
        label="Password", strip=False, max_length=128, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class NewPasswordForm(forms.Form):
    """For somebody who came in by a link, so nobody asks for the old one."""

    password = new_password_field()
    again = again_field()

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        _check_pair(self, cleaned, user=self.user)
        return cleaned


class ChangePasswordForm(NewPasswordForm):
    old = forms.CharField(
        label="Present password",
        strip=False,
        max_length=128,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    field_order = ("old", "password", "again")

    def clean_old(self) -> str:
        old: str = self.cleaned_data["old"]
        if not self.user.check_password(old):
            raise ValidationError("That is not your present password.")
        return old


class NameForm(forms.Form):
    name = PlainField(label="Name", max_length=100, widget=forms.TextInput(attrs={"autocomplete": "name"}))


class HubTokenForm(forms.Form):
    hub_token = forms.RegexField(
        r"^hf_[A-Za-z0-9_]{5,200}$",
        label="Access token",
        strip=True,
        error_messages={"invalid": "A token of the Hub begins with hf_ and has letters and digits only."},
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "placeholder": "hf_…", "spellcheck": "false"}),
        help_text="One that may read is enough. It is kept encrypted, used for the datasets that you fetch, and never shown again.",
    )


class AcceptInvitationForm(NameForm):
    password = new_password_field()
    again = again_field()

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        _check_pair(self, cleaned, user=User(email=self.email, name=cleaned.get("name", "")))
        return cleaned


class TeamForm(forms.Form):
    name = PlainField(label="Team name", max_length=100)


class LimitField(forms.IntegerField):
    """Slots at once; nothing: no limit."""

    def __init__(self, label: str, *, help_text: str) -> None:
        widget = forms.NumberInput(attrs={"placeholder": "no limit", "inputmode": "numeric", "min": 0, "max": MOST_LIMIT})
        super().__init__(label=label, required=False, min_value=0, max_value=MOST_LIMIT, widget=widget, help_text=help_text)


class TeamLimitsForm(forms.Form):
    running_limit = LimitField("The team at once", help_text="Slots that all jobs of the team may hold together.")
    member_running_limit = LimitField("Each member at once", help_text="Slots that one member's jobs may hold.")


class MemberLimitForm(forms.Form):
    running_limit = LimitField("Slots at once", help_text="Wins over the team's limit for its members. Empty: the team's counts.")


class InviteForm(forms.Form):
    email = AddressField(label="E-mail")
    team = forms.ModelChoiceField(Team.objects.order_by("name"), label="Team", empty_label=None)
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.MEMBER)
    hours = forms.TypedChoiceField(label="Link works for", choices=EXPIRIES, coerce=int, initial=72)


def _check_pair(form: forms.Form, cleaned: dict[str, Any], *, user: User) -> None:
    password, again = cleaned.get("password"), cleaned.get("again")
    if password and again and password != again:
        form.add_error("again", DIFFERENT)
    elif password:
        try:
            validate_password(password, user)
        except ValidationError as error:
            form.add_error("password", error)
