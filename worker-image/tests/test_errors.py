import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract import facts, fixture
from worker.errors import HTTP_STATUS, Cancelled, WorkerError


def test_the_codes_are_those_the_typescript_side_knows() -> None:
    assert facts(fixture("error-codes")) == HTTP_STATUS


@pytest.mark.parametrize("code", HTTP_STATUS)
def test_every_code_has_the_status_of_an_error(code: str) -> None:
    assert WorkerError(code, "what was wrong").http_status in range(400, 600)


def test_a_code_that_is_not_in_the_table_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="no such code: oops"):
        WorkerError("oops", "what was wrong")


def test_a_result_has_the_field_and_the_wish_for_a_new_worker_only_where_there_are_such() -> None:
    assert WorkerError("internal", "broken").to_result() == {
        "status": "error",
        "error": "broken",
        "code": "internal",
    }
    assert WorkerError("bad_seed", "seed must …", field="seed").to_result() == {
        "status": "error",
        "error": "seed must …",
        "code": "bad_seed",
        "field": "seed",
    }
    assert WorkerError("gpu_failed", "broken", refresh_worker=True).to_result() == {
        "status": "error",
        "error": "broken",
        "code": "gpu_failed",
        "refresh_worker": True,
    }


def test_the_text_of_an_error_is_its_message() -> None:
    assert str(WorkerError("internal", "broken")) == "broken"


def test_a_cancelled_job_is_no_worker_error() -> None:
    assert not issubclass(Cancelled, WorkerError)


def test_errors_request_and_settings_are_read_with_the_standard_library_alone() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "import worker.errors, worker.request, worker.settings\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - sys.stdlib_module_names - {'worker'}))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
