"""What anybody may know of a matter who has its number and no code 凭编号可见: which steps, and states by which name.

Numbers can be guessed: they count the matters of a day. A complaint is about a public place; an application, or a
request for information, is a private affair, so by number alone nobody learns how it was decided, why it ended or
which unit, and so which item, it is about. Decides what is told; `dispatch.sheet` reads and `api` finds the words.
"""

from collections.abc import Mapping

#: Steps of complaints and patrol events that are told; corrections, notes and what happens inside the house are not.
_OPEN = frozenset(
    {"receive", "dispatch", "redispatch", "rise", "arbitrate", "sign", "reply", "callback", "rework", "close", "refuse"}
    | {"hand_over", "withdraw", "reopen", "rate", "extend_grant", "pause_grant", "resume", "park_grant", "park_on"}
    | {"take_up", "merge", "unmerge", "answer_merged", "answer_now"}
)
#: Processes that are the private affair of who applies.
_PRIVATE = frozenset(("service_item", "information"))
#: Steps of a private affair → under which name they are told: `decide` without how, `end` without why.
_STEPS: Mapping[str, str] = {
    "receive": "receive",
    "pre_review": "pre_review",
    "notice": "notice",
    "supply": "supply",
    "accept": "accept",
    "accept_gaps": "accept",
    "accept_deemed": "accept",
    "register": "register",
    "sign": "sign",
    "extend_grant": "extend_grant",
    "pause_grant": "pause_grant",
    "resume": "resume",
    "hand_up": "hand_up",
    "hand_back": "hand_back",
    "grant": "decide",
    "deny": "decide",
    "denial_agree": "decide",
    "reply": "reply",
    "reply_at_once": "reply",
    "file": "file",
    "deliver": "deliver",
    "done_at_once": "deliver",
    "refuse_acceptance": "end",
    "lapse": "end",
    "withdraw": "end",
}
#: States that say more than a stranger may know → what is said instead.
_STATES: Mapping[str, str] = {
    "granted": "decided",
    "denied": "decided",
    "refused_acceptance": "ended",
    "lapsed": "ended",
    "withdrawn": "ended",
}
#: A refusal that a supervisor has not agreed to yet is the house's own, whoever looks from outside.
_INSIDE: Mapping[str, str] = {"denial_review": "reviewing"}
#: Steps of a private affair that its own person is told beside those of `_STEPS`.
_OWN = frozenset(("hand_in", "reuse", "reassign", "survey_call", "survey_move", "survey_record", "material_wrong")) | {
    *("choose_pickup", "record_fee", "rate")
}
#: What is left out for a stranger: the unit, town and category of a private affair say what it is about.
HIDDEN = ("category_name", "town_name", "unit_name")


def private(process: str) -> bool:
    """Return whether a process is the private affair of who applies."""
    return process in _PRIVATE


def steps(process: str, *, own: bool) -> frozenset[str]:
    """Return the actions that are told; own: the code of the receipt was shown."""
    if not private(process):
        return _OPEN
    return frozenset(_STEPS) | (_OWN if own else frozenset())


def step(process: str, action: str, *, own: bool) -> str:
    """Return the name under which an action is told: its own, or one that does not say how or why."""
    return _STEPS.get(action, action) if private(process) and not own else action


def state(process: str, name: str, *, own: bool) -> str:
    """Return the name under which a state is told."""
    if not private(process):
        return name
    told = _INSIDE.get(name, name)
    return told if own else _STATES.get(told, told)
