"""Who may come in: users, their team, and one-time links that sign in or invite."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from encrypted_fields.fields import EncryptedTextField


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)
    running_limit = models.PositiveSmallIntegerField(null=True)
    """Slots that the team's jobs may hold at once; None: as many as there are."""
    member_running_limit = models.PositiveSmallIntegerField(null=True)
    """The same for each member, unless the member has a limit of their own."""
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    MEMBER = "member", "Member"
    ADMIN = "admin", "Administrator"


class User(AbstractBaseUser):
    """Signs in with an e-mail address. A user without a password comes in by a one-time link and sets one."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="users")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    is_active = models.BooleanField(default=True)
    running_limit = models.PositiveSmallIntegerField(null=True)
    hub_token = EncryptedTextField(null=True, blank=True)
    """Of the Hugging Face Hub, for datasets that the user fetches. The field stores an empty text as null."""
    created_at = models.DateTimeField(auto_now_add=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["name"]
    objects = BaseUserManager()

    def __str__(self) -> str:
        return self.name

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN

    @property
    def initials(self) -> str:
        parts = self.name.split() or [self.email]
        return "".join(part[0] for part in (parts[0], parts[-1])[: len(parts)]).upper()


class LinkKind(models.TextChoices):
    SIGN_IN = "sign_in", "Sign-in"
    INVITE = "invite", "Invitation"


class OneTimeLink(models.Model):
    """Works once, until it expires. Only the token's hash is stored."""

    kind = models.CharField(max_length=10, choices=LinkKind.choices)
    token_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sign_in_links")
    email = models.EmailField(blank=True)
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} until {self.expires_at:%Y-%m-%d %H:%M}"


class SignInAttempt(models.Model):
    """One try to sign in that has not succeeded. Kept in the database, so that all web processes count together."""

    key = models.CharField(max_length=64)
    """Hash of e-mail address and network address: what was typed is nobody's business."""
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["key", "at"], name="sign_in_attempts_of_a_key")]

    def __str__(self) -> str:
        return f"{self.key[:8]} at {self.at:%Y-%m-%d %H:%M}"
