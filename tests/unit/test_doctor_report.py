"""What an examination says in one number and in one sentence."""

import pytest

from s4.entrypoints.doctor import Check, Report, failed, ok, unknown, warning

WELL = ok("a", "Well.")
ODD = warning("b", "Odd.", "Look.")
BROKEN = failed("c", "Broken.", "Mend it.")
UNTOLD = unknown("d", "Untold.", "Look.")
UNTOLD_AND_UNNEEDED = unknown("e", "Untold.", "Look.", needed=False)


@pytest.mark.parametrize(
    ("checks", "code", "beginning"),
    [
        ((WELL,), 0, "Ready: "),
        ((WELL, ODD, UNTOLD_AND_UNNEEDED), 0, "Ready: "),
        ((WELL, UNTOLD), 2, "Undecided: "),
        ((UNTOLD, BROKEN, WELL), 1, "NOT READY: "),
    ],
)
def test_exit_codes_say_whether_s4_can_stand_there(checks: tuple[Check, ...], code: int, beginning: str) -> None:
    report = Report("a store", checks)

    assert report.exit_code == code
    assert report.sentence.startswith(beginning)


def test_the_sentence_counts_what_was_found() -> None:
    assert Report("a store", (WELL, WELL, ODD, UNTOLD)).sentence.endswith("2 ok, 1 warning, 1 unknown.")


def test_a_program_reads_all_that_a_person_does() -> None:
    told = Report("a store", (UNTOLD_AND_UNNEEDED,), ("system/probes/x",)).as_json()

    assert told["checks"] == [
        {"name": "e", "verdict": "unknown", "needed": False, "cause": None, "message": "Untold.", "advice": "Look."}
    ]
    assert (told["subject"], told["exit_code"], told["left_behind"]) == ("a store", 0, ["system/probes/x"])
