"""A signed-in user without a browser: opens a one-time link, then speaks the public API with the session's cookies."""

import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

CSRF_FIELD = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class VisitFailed(Exception):
    """What was asked, and what the dashboard answered."""


class Visitor:
    def __init__(self, link: str, *, csrf_cookie: str, verify: ssl.SSLContext | bool = True) -> None:
        parts = urlsplit(link)
        self.csrf_cookie = csrf_cookie
        # Waits longer than a server that restarts. trust_env: a proxy for the world outside must not get between.
        self.http = httpx.Client(base_url=f"{parts.scheme}://{parts.netloc}", timeout=30, trust_env=False, verify=verify)
        self._sign_in(parts.path)

    def _sign_in(self, path: str) -> None:
        """As in a browser: look at the page, press its button. The password is left to the administrator."""
        field = CSRF_FIELD.search(self._checked(self.http.get(path)).text)
        if field is None:
            raise VisitFailed("The page of the sign-in link shows no form.")
        answer = self.http.post(path, data={"csrfmiddlewaretoken": field.group(1)}, headers=self._referer(path))
        if answer.status_code != 302:
            raise VisitFailed(f"The sign-in link was refused with status {answer.status_code}.")
        self.get("me")

    def page(self, path: str) -> str:
        return str(self.http.base_url.join(path))

    def _referer(self, path: str) -> dict[str, str]:
        return {"Referer": self.page(path)}  # Django asks for it under https

    def get(self, path: str) -> Any:
        return self._checked(self.http.get(f"/api/v1/{path}")).json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        token = self.http.cookies.get(self.csrf_cookie) or ""
        headers = {"X-CSRFToken": token, **self._referer("/")}
        return self._checked(self.http.post(f"/api/v1/{path}", json=body, headers=headers)).json()

    def download(self, address: str, *, to: Path) -> None:
        with self.http.stream("GET", address) as answer, to.open("wb") as file:
            if not answer.is_success:
                raise VisitFailed(f"GET {address} was answered with status {answer.status_code}.")
            for chunk in answer.iter_bytes():
                file.write(chunk)

    @staticmethod
    def _checked(answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        try:
            said = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = f"status {answer.status_code}"
        raise VisitFailed(f"{answer.request.method} {answer.request.url.path}: {said}")
