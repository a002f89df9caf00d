"""Addresses of accounts."""

from django.urls import path

from webapp.accounts.views import account, limits, links, sign_in, users

urlpatterns = [
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("link/<str:token>/", links.link, name="link"),
    path("account/", account.account, name="account"),
    path("account/name/", account.rename, name="account-name"),
    path("account/password/", account.new_password, name="account-password"),
    path("account/hub-token/", account.hub_token, name="account-hub-token"),
    path("account/set-password/", links.set_password, name="set-password"),
    path("users/", users.user_list, name="user-list"),
    path("users/invite/", users.user_invite, name="user-invite"),
    path("users/invitations/<int:pk>/withdraw/", users.invitation_withdraw, name="invitation-withdraw"),
    path("users/<int:pk>/sign-in-link/", users.user_sign_in_link, name="user-sign-in-link"),
    path("users/<int:pk>/disable/", users.user_disable, name="user-disable"),
    path("users/<int:pk>/enable/", users.user_enable, name="user-enable"),
    path("users/<int:pk>/limit/", limits.user_limit, name="user-limit"),
    path("teams/", users.team_create, name="team-create"),
    path("teams/<int:pk>/limits/", limits.team_limits, name="team-limits"),
]
