"""A node's settings: a strict file, and the environment over it."""

import pytest

from fedjoint.agreement.review import HolderPolicy, load_policy
from fedjoint.errors import ConfigError, InvalidValue
from fedjoint.node.policy_text import POLICY
from fedjoint.node.settings import TEMPLATE, NodeSettings, load_settings


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "holder.yaml"
    path.write_text(TEMPLATE)
    return path


def test_the_files_that_a_new_holder_gets_say_the_defaults(path, tmp_path):
    assert load_settings(path, {}) == NodeSettings()
    (tmp_path / "policy.yaml").write_text(POLICY)
    assert load_policy(tmp_path / "policy.yaml") == HolderPolicy()


def test_the_policy_file_names_every_limit():
    named = {line.partition(":")[0] for line in POLICY.splitlines() if line and not line.startswith("#")}
    assert named == set(HolderPolicy.__dataclass_fields__)


def test_the_environment_overrides_the_file(path):
    path.write_text("proxy: http://a:1\nrenew_at: 0.5\n")
    found = load_settings(
        path, {"FEDJOINT_HOLDER_PROXY": "", "FEDJOINT_HOLDER_BACKOFF_S": "2", "FEDJOINT_HOLDER_HOME": "x", "HOME": "/"}
    )
    assert found == NodeSettings(proxy=None, renew_at=0.5, backoff_s=2.0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"FEDJOINT_HOLDER_PROXI": "x"}, "unknown key 'settings.proxi'"),
        ({"FEDJOINT_HOLDER_RENEW_AT": "soon"}, "expected a number"),
        ({"FEDJOINT_HOLDER_RENEW_AT": "2"}, "renew_at = 2"),
        ({"FEDJOINT_HOLDER_LOG_LEVEL": "loud"}, "log_level"),
    ],
)
def test_what_is_no_setting_is_refused(path, environment, words):
    with pytest.raises(ConfigError, match=words):
        load_settings(path, environment)


def test_a_wait_out_of_range_is_refused():
    with pytest.raises(InvalidValue, match="backoff_s"):
        NodeSettings(backoff_s=0.0)
