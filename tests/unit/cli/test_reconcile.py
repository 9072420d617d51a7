from ovsdriver.admin.views import RepairReport
from tests.unit.cli.conftest import Desk, Shell


def test_a_look_says_what_was_mended_and_what_was_not(shell: Shell, desk: Desk):
    desk.repairs = RepairReport(
        at=1000.0, found=("port A", "port B"), mended=("port A",), beyond=("port C",)
    )
    result = shell("reconcile")
    assert result.exit_code == 0
    assert result.stdout == "\nMended:\n  port A\n\nFor you to mend:\n  port C\n"
    assert desk.looks == [False]


def test_a_dry_look_says_what_would_be_mended(shell: Shell, desk: Desk):
    desk.repairs = RepairReport(at=1000.0, found=("port A",))
    result = shell("reconcile", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == "\nWould be mended:\n  port A\n"
    assert desk.looks == [True]


def test_what_cannot_be_mended_or_looked_at_fails(shell: Shell, desk: Desk):
    desk.repairs = RepairReport(at=1000.0, found=("port A",), failed=("port A: no",))
    for options, title in (((), "Could not be mended:"), (("--dry-run",), "Could not be looked")):
        result = shell("reconcile", *options)
        assert result.exit_code == 1
        assert title in result.stdout


def test_nothing_to_mend_is_said(shell: Shell, desk: Desk):
    assert shell("reconcile").stdout == "all is as recorded, nothing to mend\n"


def test_json_has_every_member(shell: Shell, desk: Desk):
    desk.repairs = RepairReport(at=1000.0, found=("port A",))
    found = shell.json("reconcile", "--dry-run")
    assert found["found"] == ["port A"]
    assert set(found) == {"at", "found", "mended", "failed", "beyond", "lately", "doubted"}
