"""Why something did not go out, in the reader's language 未送达原因.

Adapters say it in short English phrases that stand in tables and are filtered by; here they become words for people.
What the other side itself said stays as it said it.
"""

import re
from typing import Final

from api.i18n import N_, say
from hotline.weibo.platform import HALTED

#: Phrases of the adapters, whole or up to a colon.
_KNOWN: Final = frozenset(
    [
        *(N_("the answer cannot be read"), N_("the answer does not end"), N_("the answer is of another request")),
        *(N_("the answer has neither number nor token"), N_("the answer has no status of the standard")),
        *(
            N_("the answer is not of the standard's shape"),
            N_("the answer is not whole"),
            N_("the answer was too long"),
        ),
        *(N_("no answer"), N_("the answer broke off"), N_("the provider cannot be reached")),
        *(N_("the provider did not answer in time"), N_("no mobile number"), N_("no telephone number")),
        *(N_("somebody else is at the case"), N_("it was forwarded to us"), N_("the place is not known")),
        N_("no service of theirs is for this category"),
        *(N_("the robot cannot be reached"), N_("the robot did not take it"), N_("no address of a robot")),
        *(N_("the mail server does not know us"), N_("the mail server offers no TLS")),
        *(N_("the mail server broke off"), N_("the mail server cannot be reached")),
        N_("address or subject cannot be written into a header"),
        *(N_("sealed with another key"), N_("unforeseen"), N_("another try is on its way")),
        *(N_("not known whether it was taken"), N_("no post on the platform"), N_("no such mention")),
        *(N_("the post is gone"), N_("answer it by hand"), N_("the key or the jurisdiction does not hold")),
    ]
)
_CODE: Final = re.compile(r"(?:HTTP|SMTP|status|result) (.{1,200}?)(?:: (.*))?", re.DOTALL)


def reason_words(why: str) -> str:
    """Filter: 对方服务器无法连接 for "the provider cannot be reached"; a phrase that nobody knows stays as it is."""
    if why in _KNOWN:
        return say(why)
    head, _, rest = why.partition(": ")
    if rest and head in HALTED:
        return f"{say(HALTED[head])} {rest}"
    if rest and head in _KNOWN:
        return say("{what} ({more})", what=say(head), more=reason_words(rest))
    found = _CODE.fullmatch(why)
    if found is None:
        return why
    said = say("the other side answered {said}", said=found[1])
    return said if not found[2] else say("{what} ({more})", what=said, more=reason_words(found[2]))
