import dataclasses

from fedjoint.runs.sentences import privacy_sentence
from tests.runs.test_report_html import LOCAL, a_report


def test_what_missing_shares_of_joint_noise_do_is_said_where_holders_were_missing():
    joint = dataclasses.replace(LOCAL, mode="joint", colluders=1, epsilon_if_opened=8.0)
    report = a_report(privacy=joint)
    assert "In one round holders were missing, and with them their shares of the noise" in privacy_sentence(report)
    whole = dataclasses.replace(report, rounds=report.rounds[:6])
    assert "were missing" not in privacy_sentence(whole)
    assert "were missing" not in privacy_sentence(a_report(privacy=LOCAL))  # there each holder's noise is full
