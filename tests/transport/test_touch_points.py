"""What Flower does not publish and we use, against the installed version."""

from flwr.app import Error, Message, Metadata, RecordDict

from fedjoint.transport.touch_points import begin_run, delivered_message, give_id


def test_messages_are_made_under_the_run_that_was_begun():
    run = begin_run()
    assert Message(RecordDict(), 5, "train").metadata.run_id == run.run_id


def test_a_message_is_answered_under_the_id_that_it_was_given():
    begin_run()
    task = Message(RecordDict(), 5, "train")
    give_id(task, "task-7")
    assert task.metadata.message_id == "task-7"
    assert Message(RecordDict(), reply_to=task).metadata.reply_to_message_id == "task-7"


def test_a_delivered_message_keeps_its_senders_metadata():
    metadata = Metadata(3, "id", 1, 2, "", "group", 1.5, 60.0, "train")
    assert delivered_message(metadata, content=RecordDict()).metadata is metadata
    assert delivered_message(metadata, error=Error(4, "x")).error.code == 4
