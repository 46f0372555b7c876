import io

from rich.console import Console

from fedjoint.cli.progress import LONG_UPDATE, ConsoleProgress


def told(size, *, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with ConsoleProgress(console) as progress:
        progress.work("'ahus' encrypts", size // 2, size)
        shown = progress._bar
        working = shown is not None and [task.fields["what"] for task in shown.tasks]
        progress.work("'ahus' encrypts", size, size)
        left = shown is not None and list(shown.tasks)
    return working, left


def test_a_long_update_has_a_bar_until_it_is_done():
    assert told(LONG_UPDATE, terminal=True) == (["'ahus' encrypts"], [])


def test_a_short_update_has_none_and_nothing_is_shown_where_there_is_no_terminal():
    assert told(LONG_UPDATE - 1, terminal=True) == (False, False)
    assert told(LONG_UPDATE, terminal=False) == (False, False)
