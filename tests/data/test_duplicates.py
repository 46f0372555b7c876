import numpy as np
import pytest

from fedjoint.data.duplicates import DuplicateAnswerer, DuplicateSeeker, record_digests, without
from fedjoint.data.records import Examples
from fedjoint.errors import DataError


def records(*values):
    column = np.array(values, dtype=np.float32)
    return Examples(features=column[:, None], targets=np.ones(len(values), np.float32))


def digests(*values, salt=b"agreement"):
    return record_digests(records(*values), salt=salt)


def common(mine, others, most=10):
    seeker = DuplicateSeeker(mine)
    return seeker.common(*DuplicateAnswerer(others, asker_num_examples=most).answer(seeker.request()))


def test_the_seeker_learns_which_of_its_own_records_the_other_has():
    assert common(digests(1, 2, 3, 4), digests(9, 4, 2)) == (1, 3)


def test_a_record_that_stands_twice_is_found_twice():
    assert common(digests(2, 1, 2), digests(2, 2, 7)) == (0, 2)


def test_holders_with_nothing_in_common_learn_that():
    assert common(digests(1, 2), digests(3, 4)) == ()


def test_a_digest_is_of_the_whole_record_and_of_one_agreement():
    one = Examples(features=np.ones((1, 1), np.float32), targets=np.zeros(1, np.float32))
    other = Examples(features=np.ones((1, 1), np.float32), targets=np.ones(1, np.float32))
    assert record_digests(one, salt=b"a") != record_digests(other, salt=b"a")
    assert record_digests(one, salt=b"a") != record_digests(one, salt=b"b")


def test_no_digest_travels_in_the_clear():
    mine, theirs = digests(1, 2), digests(2, 3)
    seeker = DuplicateSeeker(mine)
    request = seeker.request()
    setup, response = DuplicateAnswerer(theirs, asker_num_examples=2).answer(request)
    for digest in (*mine, *theirs):
        assert not any(digest.encode() in sent or bytes.fromhex(digest) in sent for sent in (request, setup, response))


def test_two_seekers_blind_the_same_records_differently():
    assert DuplicateSeeker(digests(1)).request() != DuplicateSeeker(digests(1)).request()


def test_a_holder_answers_once():
    answerer, seeker = DuplicateAnswerer(digests(1), asker_num_examples=1), DuplicateSeeker(digests(1))
    answerer.answer(seeker.request())
    with pytest.raises(DataError, match="asked before"):
        answerer.answer(seeker.request())


@pytest.mark.parametrize("count", [3, 200])
def test_nobody_asks_about_more_records_than_it_has(count):
    with pytest.raises(DataError):
        DuplicateAnswerer(digests(1), asker_num_examples=2).answer(DuplicateSeeker(digests(*range(count))).request())


@pytest.mark.parametrize("place", [0, 1])
def test_bytes_that_are_no_answer_are_refused(place):
    seeker = DuplicateSeeker(digests(1))
    answer = list(DuplicateAnswerer(digests(1), asker_num_examples=1).answer(seeker.request()))
    answer[place] = b"\xff" * 40
    with pytest.raises(DataError, match="no message of the comparison"):
        seeker.common(*answer)


def test_bytes_that_are_no_request_are_refused():
    with pytest.raises(DataError, match="no message of the comparison"):
        DuplicateAnswerer(digests(1), asker_num_examples=1).answer(b"\xff" * 40)


def test_no_records_are_refused_on_either_side():
    for make in (DuplicateSeeker, lambda found: DuplicateAnswerer(found, asker_num_examples=1)):
        with pytest.raises(DataError, match="no records"):
            make(())


def test_found_records_are_left_out():
    assert without(records(5, 6, 7), [0, 2]).features.tolist() == [[6.0]]
    with pytest.raises(DataError, match="every record"):
        without(records(5), [0])
