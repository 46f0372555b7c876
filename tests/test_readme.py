import re
import shlex
from pathlib import Path

import pytest

from fedjoint.cli.main import cli
from fedjoint.config import load_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^(?:\$ )?(fedjoint \w+.*)$", README, re.MULTILINE)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_readme_exists_and_its_settings_compose(command):
    _, verb, *arguments = shlex.split(command, comments=True)
    assert verb in cli.list_commands(None)
    if verb in ("simulate", "plan"):
        load_config([argument for argument in arguments if not argument.startswith("--")])


def test_the_readme_names_commands_of_each_kind():
    assert {command.split()[1] for command in COMMANDS} >= {"simulate", "verify"}


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_every_python_block_in_the_readme_compiles_and_its_imports_exist(block):
    compile(block, "README.md", "exec")
    exec("\n".join(line for line in block.splitlines() if line.startswith(("from ", "import "))), {})


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_every_file_that_the_readme_links_to_is_there(link):
    assert (ROOT / link).exists()
