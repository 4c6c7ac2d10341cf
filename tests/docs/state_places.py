"""Where the states of the two machines stand in their pictures, and which way arrows go."""

from __future__ import annotations

from typing import Final

from tests.docs.state_pictures import Box, Placing, Way

# Left and right edge of the column of questions, the lanes beside it, and the last column.
Q: Final = 554
R: Final = 686
LANE_C: Final = 740
LANE_A: Final = 890
BAR: Final = 1064
D: Final = 934


def _question(
    name: str,
    y: int,
    *,
    challenge: tuple[int, int] | None = None,
    abandon: tuple[int, int] | None = None,
) -> dict[tuple[str, str], Way]:
    """The arrows that questions have in common; those to the same state run into one."""
    return {
        (name, "responded"): Way(points=((R, y), (BAR, y)), label=(977, y)),
        (name, "demanding"): Way(
            points=((R, y - 9), (LANE_C, y - 9), (LANE_C, 45)), label=challenge
        ),
        (name, "abandoned"): Way(
            points=((R, y + 9), (LANE_A, y + 9), (LANE_A, 685)), label=abandon
        ),
    }


_SERVER_WAYS: Final = {
    ("received", "authenticating"): Way(
        points=((110, 315), (110, 110), (Q, 110)), label=(250, 110)
    ),
    ("received", "admitted"): Way(points=((176, 330), (244, 330)), label=(208, 318)),
    ("received", "responded"): Way(
        points=((110, 345), (110, 640), (1090, 640), (1090, 595)), label=(250, 640)
    ),
    ("authenticating", "responded"): Way(points=((R, 101), (BAR, 101)), label=(977, 101)),
    ("authenticating", "abandoned"): Way(points=((R, 119), (LANE_A, 119), (LANE_A, 685))),
    ("authenticating", "admitted"): Way(
        points=((590, 125), (590, 165), (310, 165), (310, 315)), label=(430, 165)
    ),
    ("demanding", "authenticating"): Way(points=((674, 30), (620, 30), (620, 95)), label=(620, 62)),
    ("demanding", "responded"): Way(points=((806, 30), (BAR, 30)), label=(977, 30)),
    ("admitted", "answering-cacerts"): Way(
        points=((376, 330), (410, 330), (410, 230), (Q, 230)), label=(482, 230)
    ),
    ("admitted", "answering-csrattrs"): Way(points=((376, 330), (Q, 330)), label=(482, 330)),
    ("admitted", "enforcing"): Way(
        points=((376, 330), (410, 330), (410, 420), (Q, 420)), label=(482, 420)
    ),
    ("admitted", "deciding"): Way(
        points=((376, 330), (410, 330), (410, 560), (Q, 560)), label=(482, 560)
    ),
    ("admitted", "responded"): Way(
        points=((310, 345), (310, 615), (1072, 615), (1072, 595)), label=(410, 615)
    ),
    **_question("answering-cacerts", 230, challenge=(LANE_C, 165), abandon=(LANE_A, 165)),
    **_question("answering-csrattrs", 330),
    **_question("enforcing", 420),
    ("enforcing", "examined"): Way(points=((620, 435), (620, 475)), label=(620, 455)),
    ("examined", "deciding"): Way(points=((620, 505), (620, 545)), label=(620, 525)),
    ("examined", "responded"): Way(points=((R, 490), (BAR, 490)), label=(977, 490)),
    ("deciding", "responded"): Way(points=((R, 560), (BAR, 560)), label=(977, 560)),
    ("deciding", "demanding"): Way(points=((R, 551), (LANE_C, 551), (LANE_C, 45))),
    ("deciding", "settling"): Way(points=((620, 575), (620, 685)), label=(620, 596)),
    ("settling", "abandoned"): Way(points=((R, 700), (858, 700)), label=(771, 700)),
    ("responded", "abandoned"): Way(
        points=((1150, 595), (1150, 700), (990, 700)), label=(1070, 700)
    ),
}
SERVER: Final = Placing(
    boxes={
        "received": Box(x=110, y=330),
        "authenticating": Box(x=620, y=110),
        "demanding": Box(x=740, y=30),
        "admitted": Box(x=310, y=330),
        "answering-cacerts": Box(x=620, y=230),
        "answering-csrattrs": Box(x=620, y=330),
        "enforcing": Box(x=620, y=420),
        "examined": Box(x=620, y=490),
        "deciding": Box(x=620, y=560),
        "responded": Box(x=1130, y=305, height=580),
        "settling": Box(x=620, y=700),
        "abandoned": Box(x=924, y=700),
    },
    ways=_SERVER_WAYS,
)
CLIENT: Final = Placing(
    boxes={
        "idle": Box(x=110, y=200),
        "connecting": Box(x=330, y=200),
        "signing": Box(x=480, y=320),
        "sent": Box(x=640, y=200),
        "challenged": Box(x=480, y=95),
        "redirected": Box(x=800, y=75),
        "deciding-trust": Box(x=800, y=140),
        "waiting": Box(x=800, y=260),
        "done": Box(x=1000, y=225, height=430),
    },
    ways={
        ("idle", "connecting"): Way(points=((176, 200), (264, 200)), label=(220, 188)),
        ("idle", "done"): Way(points=((110, 215), (110, 430), (D, 430)), label=(200, 430)),
        ("connecting", "connecting"): Way(
            points=((285, 185), (285, 150), (245, 150), (245, 192), (264, 192)), label=(255, 138)
        ),
        ("connecting", "signing"): Way(
            points=((320, 215), (320, 320), (414, 320)), label=(367, 320)
        ),
        ("connecting", "sent"): Way(points=((396, 194), (574, 194)), label=(480, 187)),
        ("connecting", "done"): Way(points=((300, 215), (300, 400), (D, 400)), label=(400, 400)),
        ("signing", "sent"): Way(points=((546, 320), (620, 320), (620, 215)), label=(620, 280)),
        ("signing", "connecting"): Way(
            points=((450, 305), (450, 250), (365, 250), (365, 215)), label=(410, 250)
        ),
        ("signing", "done"): Way(points=((480, 335), (480, 370), (D, 370)), label=(600, 370)),
        ("sent", "connecting"): Way(points=((574, 208), (396, 208)), label=(520, 214)),
        ("sent", "challenged"): Way(points=((610, 185), (610, 95), (546, 95)), label=(610, 130)),
        ("sent", "redirected"): Way(points=((645, 185), (645, 75), (734, 75)), label=(690, 75)),
        ("sent", "deciding-trust"): Way(
            points=((675, 185), (675, 140), (734, 140)), label=(696, 160)
        ),
        ("sent", "waiting"): Way(points=((675, 215), (675, 260), (734, 260)), label=(695, 245)),
        ("sent", "done"): Way(points=((706, 200), (D, 200)), label=(860, 200)),
        ("challenged", "connecting"): Way(
            points=((414, 95), (340, 95), (340, 185)), label=(340, 120)
        ),
        ("challenged", "done"): Way(points=((480, 80), (480, 24), (D, 24)), label=(600, 24)),
        ("redirected", "connecting"): Way(
            points=((800, 60), (800, 46), (310, 46), (310, 185)), label=(400, 46)
        ),
        ("redirected", "done"): Way(points=((866, 75), (D, 75)), label=(900, 75)),
        ("deciding-trust", "done"): Way(points=((866, 140), (D, 140)), label=(900, 140)),
        ("waiting", "connecting"): Way(
            points=((760, 275), (760, 345), (345, 345), (345, 215)), label=(700, 345)
        ),
        ("waiting", "done"): Way(points=((866, 260), (D, 260)), label=(900, 260)),
    },
)
