"""Where the states of the two machines stand in their pictures, and which way arrows go."""

from __future__ import annotations

from typing import Final

from tests.docs.state_pictures import Box, Placing, Way

D: Final = 934  # the left edge of the last column of the client's picture

SERVER: Final = Placing(
    boxes={
        "received": Box(x=110, y=120),
        "asking": Box(x=420, y=120),
        "responded": Box(x=760, y=120),
        "settling": Box(x=420, y=260),
        "abandoned": Box(x=760, y=260),
    },
    ways={
        ("received", "asking"): Way(points=((176, 120), (354, 120)), label=(260, 108)),
        ("received", "responded"): Way(
            points=((110, 105), (110, 40), (760, 40), (760, 105)), label=(260, 40)
        ),
        ("asking", "asking"): Way(
            points=((375, 105), (375, 74), (335, 74), (335, 112), (354, 112)), label=(355, 66)
        ),
        ("asking", "responded"): Way(points=((486, 120), (694, 120)), label=(590, 108)),
        ("asking", "abandoned"): Way(
            points=((470, 135), (470, 195), (740, 195), (740, 245)), label=(600, 195)
        ),
        ("asking", "settling"): Way(points=((420, 135), (420, 245)), label=(420, 215)),
        ("settling", "abandoned"): Way(points=((486, 260), (694, 260)), label=(590, 260)),
        ("responded", "abandoned"): Way(points=((775, 135), (775, 245)), label=(790, 160)),
    },
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
