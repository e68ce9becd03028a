"""What each action does to a request for government information 依申请公开 (S4; 政府信息公开条例 arts. 30 to 36).

Handlers for `dispatch.cases`. The limit of the answer counts from the receipt of the request, or of its correction,
whenever somebody registers it: nobody who is measured starts it.
"""

from collections.abc import Callable, Mapping

from dispatch.actions import Change
from dispatch.items.matter import request
from dispatch.items.steps import APPLICATION, give, reassign


def _notice(change: Change) -> None:
    found = request(change.look)
    found.told_at, found.told = change.at, change.fields["unclear"]


def _supply(change: Change) -> None:
    found = request(change.look)
    change.note("wanted", found.wanted, change.fields["wanted"])
    found.wanted = change.case.text = change.fields["wanted"]
    found.counts_from = change.at


def _register(change: Change) -> None:
    found = request(change.look)
    give(change, change.book.checked_unit(change.fields["unit"]), why={"by": change.actor.name, "level": "person"})
    change.since["answer"] = found.counts_from
    change.data["counts_from"] = found.counts_from.isoformat()


def _reply(change: Change) -> None:
    request(change.look).reply_kind = change.fields["reply_kind"]
    change.case.answer = change.fields["answer"]


#: Process → action → its effect, for the processes of this package.
APPLY: Mapping[str, Mapping[str, Callable[[Change], None]]] = {
    "service_item": APPLICATION,
    "information": {
        "notice": _notice,
        "supply": _supply,
        "register": _register,
        "reassign": reassign,
        "reply": _reply,
        "reply_at_once": _reply,
    },
}
