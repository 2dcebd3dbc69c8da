"""Reading lists to their proved end.

Pages drift while rows are inserted and deleted at the source, servers ignore what they are asked, and totals lie. So
a page is only believed, and a window only proved: one pass agrees with the total told with its first answer, or two
whole passes in a row read the same ids. What has been proved never needs to be read again, and nothing else counts.

The invariant: a portion's `covered` is an instant before which everything in the window has been read and proved.
This package must not know SQL, HTTP or a platform; it asks through a callable and hands out portions to commit.

    answers.py   what an answer adds, and what a span ended as
    window.py    one window of executions, walked along creation time or turned by page number
    listing.py   a list without windows
"""

from __future__ import annotations

from syncer.paging.answers import Answer, Asked, Portion, Span, Verdict
from syncer.paging.listing import Listing, read_listing
from syncer.paging.window import WINDOW_ROWS, read_window

__all__ = [
    "WINDOW_ROWS",
    "Answer",
    "Asked",
    "Listing",
    "Portion",
    "Span",
    "Verdict",
    "read_listing",
    "read_window",
]
