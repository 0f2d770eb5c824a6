"""What is counted is a number, before anything is read."""

import pytest

from vlground.config import check_whole_numbers
from vlground.errors import VlgroundError

GOOD = {"seed": 0, "batch_size": 1, "num_workers": 0, "limit": None}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("limit", "abc", "limit=abc: expected a whole number from 1 on"),
        ("limit", 0, "limit=0: expected a whole number from 1 on"),
        ("limit", 2.5, "limit=2.5: "),
        ("limit", True, "limit=True: "),
        ("batch_size", None, "batch_size=None: expected a whole number from 1 on"),
        ("num_workers", -1, "num_workers=-1: expected a whole number from 0 on"),
        ("seed", "x", "seed=x: expected a whole number from 0 on"),
    ],
)
def test_what_is_no_number_is_one_line(name: str, value: object, told: str) -> None:
    check_whole_numbers(GOOD)
    check_whole_numbers({**GOOD, "limit": 3})
    with pytest.raises(VlgroundError) as caught:
        check_whole_numbers({**GOOD, name: value})
    assert str(caught.value).startswith(told)
