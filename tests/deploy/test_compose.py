"""A compose implementation accepts docker-compose.yml, nothing runs without its secrets, and the images hold what they need."""

import re

import pytest
import yaml

from tests.deploy.compose import ROOT, SECRETS, compose_config, copied_files, resolved


def test_it_resolves() -> None:
    config = resolved()
    assert set(config["services"]) == {"postgres", "redis", "setup", "web", "reaper", "cpu-worker", "gpu-worker"}
    assert set(config["volumes"]) == {"postgres", "redis", "data", "worker"}


def test_every_store_has_a_named_volume_and_a_health_check() -> None:
    config = resolved()
    for name in ("postgres", "redis", "web"):
        service = config["services"][name]
        assert service["healthcheck"]["test"], name
        assert service["volumes"][0].split(":")[0] in config["volumes"], name


def test_the_gpu_worker_asks_for_the_gpus_and_only_with_its_profile() -> None:
    written = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["gpu-worker"]
    assert written["profiles"] == ["gpu"]
    device = resolved()["services"]["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_it_does_not_start_without_a_secret(missing: str) -> None:
    done = compose_config({name: value for name, value in SECRETS.items() if name != missing})
    assert done.returncode != 0
    assert f"{missing} is missing" in done.stderr + done.stdout


def test_no_secret_is_written_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"(PASSWORD|SECRET_KEY|TOKEN): *[\"']?[A-Za-z0-9]", text)


@pytest.mark.parametrize("dockerfile", ["webapp/Dockerfile", "worker/Dockerfile"])
def test_what_is_copied_is_there(dockerfile: str) -> None:
    copies = copied_files(dockerfile)
    assert len(copies) >= 2
    assert [source for source, _ in copies if not (ROOT / source).exists()] == []


def test_images_install_what_the_machine_installs() -> None:
    """One pin a package, in whichever file it stands."""
    pins: dict[str, set[str]] = {}
    for path in ("requirements.txt", "webapp/requirements.txt", "worker/requirements.txt", "tests/requirements.txt"):
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[\w+\])?==(\S+)", (ROOT / path).read_text(), re.MULTILINE):
            pins.setdefault(name.lower(), set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
    assert len(pins) > 40


def test_the_example_of_env_names_every_variable() -> None:
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / "docs" / "compose.env.example").read_text(), re.MULTILINE))
    assert used == named
