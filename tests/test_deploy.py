"""What `deploy/` starts exists: commands, settings and files; none of it can be started where tests run."""

import configparser
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from fedjoint.cli.main import cli
from fedjoint.exchange.settings import load_settings

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def require_command(words):
    """Parse a command line as it would be, without running it."""
    found, context = cli, click.Context(cli)
    while isinstance(found, click.Group):
        name, found, words = found.resolve_command(context, words)
        context = click.Context(found, info_name=name)
    found.make_context("deploy", list(words))


def unit(path):
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str
    found.read(path)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_there_is_and_stops_it_by_a_signal_that_it_hears(path):
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/fedjoint/bin/fedjoint"
    require_command(words)
    assert (service["KillSignal"], service["UMask"], service["NoNewPrivileges"]) == ("SIGTERM", "0077", "yes")


def test_there_is_a_unit_for_each_role():
    assert [path.stem for path in UNITS] == ["fedjoint-exchange", "fedjoint-holder"]


def test_the_compose_file_names_what_there_is(tmp_path):
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    exchange = found["services"]["exchange"]
    require_command(exchange["command"])
    assert (DEPLOY / exchange["build"]["context"] / exchange["build"]["dockerfile"]).is_file()
    settings = tmp_path / "exchange.yaml"
    settings.write_text("address: exchange.example:8443\nlisten: 0.0.0.0:8443\n")
    assert load_settings(settings, exchange["environment"]).database_url_file == "/run/secrets/database_url"
    assert {one["source"] for one in exchange["secrets"]} <= set(found["secrets"])


def test_the_image_copies_what_there_is_and_runs_as_nobody_special():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    assert copied and all((DEPLOY.parent / name).exists() for name in copied)
    assert "USER fedjoint" in lines and "STOPSIGNAL SIGTERM" in lines


def test_every_command_of_the_pages_exists():
    text = "\n".join(page.read_text() for page in DEPLOY.rglob("*.md"))
    in_blocks = re.findall(r"^(fedjoint [a-z]+ [a-z].*?)(?:  +#.*)?$", text, re.MULTILINE)
    in_lines = re.findall(r"`(fedjoint [a-z]+ [a-z][^`…]*)`", text)
    assert len(in_blocks) > 10 and len(in_lines) > 5
    for line in (*in_blocks, *in_lines):
        try:
            require_command(shlex.split(line)[1:])
        except click.MissingParameter:
            assert line in in_lines, line  # a command is named, not shown
        except click.BadParameter as problem:
            assert "does not exist" in problem.message, line  # a file's name in an example
