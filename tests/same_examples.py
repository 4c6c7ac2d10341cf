"""Examples that are the same each time, whatever else was loaded before.

hypothesis draws one value in twenty from the constants in the modules of ours that are loaded by
then (`providers._get_local_constants`). So with `derandomize` too, a test has other examples alone
than with the whole suite, in each process of it, and after a change of a constant anywhere; and how
far they come, which `tests.reached` has floors for, changes with them. Its own constants stay, and
so do ours where examples are drawn by chance.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants


def draw_no_constants_of_ours() -> None:
    """Have derandomized examples depend on nothing but their test. Raises AttributeError.

    That is where hypothesis has no such function any more: look what it does in its place.
    """
    usual = providers._get_local_constants
    none = Constants()
    providers._get_local_constants = lambda: none if settings().derandomize else usual()
