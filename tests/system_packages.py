"""Programs that pip cannot install: found on PATH, else installed where root and apt allow it, else a sentence. Standard library only."""

import os
import shutil
import subprocess

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    found = _find(BROWSERS) or (_apt_install("chromium") and _find(BROWSERS))
    if not found:
        raise SystemExit("The journeys need Chromium, and it could not be installed here. As root: apt-get install -y chromium")
    return found


def find_nginx() -> str:
    """Its tests are skipped, with this reason, where it is not to be had."""
    return nginx_on_path() or (_apt_install("nginx-light") and nginx_on_path()) or ""


def nginx_on_path() -> str:
    return _find(("nginx",))


def _find(names: tuple[str, ...]) -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return next(filter(None, (shutil.which(name, path=path) for name in names)), "")


def _apt_install(package: str) -> bool:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print(f"Installing {package} …", flush=True)
    install = ["install", "-y", "--no-install-recommends", package]
    return _apt(install) or (_apt(["update"]) and _apt(install))


def _apt(arguments: list[str]) -> bool:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode == 0
