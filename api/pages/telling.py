"""What the person concerned is told, in plain words: where a matter stands, what comes next, what happened.

Tables by state and action of the process tables; complaints, applications and requests for information share them where
the words are the same. No name of a person of the house, no internal term.
"""

from collections.abc import Mapping
from typing import TypeVar

from api.i18n import N_

Told = TypeVar("Told")

#: State → where the matter stands, in one plain sentence.
HEADS: Mapping[str, str] = {
    "received": N_("We have it and are finding out who is responsible"),
    "dispatched": N_("It is with the responsible unit, which has to sign for it"),
    "signed": N_("It is being worked on"),
    "paused": N_("It is waiting; the time stands still meanwhile"),
    "parked": N_("It cannot be solved now; it will be looked at again"),
    "disputed": N_("It is being decided which unit is responsible"),
    "merged": N_("It is handled together with another report of the same matter"),
    "replied": N_("It is answered"),
    "closed": N_("It is finished"),
    "refused": N_("It was not taken"),
    "withdrawn": N_("You took it back"),
    "handed_over": N_("It was handed to the emergency services"),
    "submitted": N_("We have it and are checking whether everything is there"),
    "pre_reviewed": N_("It was looked at and is well; come to the window with the originals"),
    "correcting": N_("Something is missing; please hand it in"),
    "accepted": N_("It is accepted and with the unit that decides"),
    "reviewing": N_("It is accepted and being examined"),
    "handed_up": N_("The city or the province is examining it"),
    "denial_review": N_("It is accepted and being examined"),
    "granted": N_("It is granted; you can fetch the result"),
    "denied": N_("It is not granted; you can fetch the decision with its reasons"),
    "delivered": N_("It is finished; the result was handed out"),
    "refused_acceptance": N_("It was not accepted"),
    "lapsed": N_("It has ended: what was missing did not come in time"),
    "registered": N_("It is registered and with the unit that holds the information"),
    "handling": N_("The unit is preparing the answer"),
    "filed": N_("It is answered and filed"),
    # By number alone, as `dispatch.stranger` names states of a private affair.
    "decided": N_("It is decided; with the code of the receipt you see how"),
    "ended": N_("It has ended; with the code of the receipt you see why"),
    "information.submitted": N_("We have it and are checking whether it is clear what you ask for"),
    "information.correcting": N_("It is not clear yet what you ask for; please say it more clearly"),
}
#: State → what happens next: a sentence and the clock that says until when.
NEXT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "received": (
        (N_("Somebody reads it and sends it to the responsible unit, at the latest"), "dispatch"),
        (N_("You get an answer, at the latest"), "reply"),
    ),
    "dispatched": (
        (N_("The unit signs for it, at the latest"), "sign"),
        (N_("You get an answer, at the latest"), "reply"),
    ),
    "signed": ((N_("You get an answer, at the latest"), "reply"),),
    "paused": ((N_("It goes on, at the latest"), "pause"),),
    "parked": ((N_("Somebody looks again, at the latest"), "review"),),
    "disputed": (
        (N_("It is decided who is responsible, at the latest"), "arbitrate"),
        (N_("You get an answer, at the latest"), "reply"),
    ),
    "merged": ((N_("You get an answer of your own, at the latest"), "reply"),),
    "replied": ((N_("You can say whether it is solved; otherwise you are asked, at the latest"), "callback"),),
    "submitted": ((N_("It is accepted, or you are told once what is missing, at the latest"), "accept"),),
    "pre_reviewed": ((N_("Come with the originals, at the latest"), "supply"),),
    "correcting": ((N_("Hand in what is missing, at the latest"), "supply"),),
    "accepted": ((N_("It is decided, at the latest"), "decide"),),
    "reviewing": ((N_("It is decided, at the latest"), "decide"),),
    "denial_review": ((N_("It is decided, at the latest"), "decide"),),
    "handed_up": ((N_("The city or the province answers, at the latest"), "hand_up"),),
    "granted": ((N_("The result is ready for you, at the latest"), "deliver"),),
    "denied": ((N_("The decision is ready for you, at the latest"), "deliver"),),
    "registered": ((N_("You get an answer, at the latest"), "answer"),),
    "handling": ((N_("You get an answer, at the latest"), "answer"),),
    "information.submitted": ((N_("It is registered, or you are told what is unclear, at the latest"), "register"),),
    "information.correcting": ((N_("Say it more clearly, at the latest"), "supply"),),
}
#: Action → what happened: without and with what may be told beside it.
EVENTS: Mapping[str, tuple[str, str]] = {
    "receive": (N_("It arrived"), ""),
    "dispatch": (N_("It was sent to the responsible unit"), N_("It was sent to {unit}")),
    "redispatch": (N_("It was sent to another unit"), N_("It was sent to another unit: {unit}")),
    "rise": (N_("It was passed to the next level"), N_("It was passed to the next level: {unit}")),
    "arbitrate": (N_("It was decided which unit is responsible"), N_("It was decided that {unit} is responsible")),
    "dispute": (N_("Units do not agree who is responsible; this is being decided"), ""),
    "return": (N_("The unit said that it is not responsible; another one is being found"), ""),
    "sign": (N_("The unit signed for it"), ""),
    "extend_grant": (N_("More time was granted"), N_("More time was granted, until {due_at}")),
    "pause_grant": (N_("The time stands still"), N_("The time stands still: {reason_code}")),
    "resume": (N_("Work went on"), ""),
    "park_grant": (N_("It cannot be solved now and will be looked at again"), ""),
    "park_on": (N_("Looked at again; it still cannot be solved"), ""),
    "take_up": (N_("It was taken up again"), ""),
    "merge": (N_("Another report of the same matter is handled together with it"), ""),
    "unmerge": (N_("It is handled by itself again"), ""),
    "supervise": (N_("Supervision demanded that it be settled"), ""),
    "supervise_close": (N_("Supervision looked at the answer of the unit and was content"), ""),
    "overdue": (N_("A limit ran out"), N_("A limit ran out ({clock}); {rung} was told")),
    "reply": (N_("It was answered"), ""),
    "answer_merged": (N_("It was answered"), ""),
    "answer_now": (N_("It was answered at once"), ""),
    "check": (N_("Somebody looked at the place"), N_("Somebody looked at the place: {checked}")),
    "callback": (N_("You were asked"), N_("You were asked: {satisfaction}")),
    "rework": (N_("Not solved: it is done again"), ""),
    "rate": (N_("You rated the answer"), N_("You rated the answer: {satisfaction}")),
    "close": (N_("It was closed"), ""),
    "reopen": (N_("It was taken up anew"), ""),
    "refuse": (N_("It was not taken"), ""),
    "hand_over": (N_("It was handed to the emergency services"), N_("It was handed to: {service}")),
    "withdraw": (N_("You took it back"), ""),
    "add": (N_("You added something"), ""),
    "submit": (N_("It arrived"), ""),
    "pre_review": (N_("It was looked at before you come; it is well"), ""),
    "notice": (N_("You were told what is missing"), ""),
    "supply": (N_("What was missing came in"), ""),
    "hand_in": (N_("Material came in"), N_("Material came in: {materials}")),
    "reuse": (
        N_("Material held already was used again"),
        N_("Material held already was used again: {materials}"),
    ),
    "accept": (N_("It was accepted"), ""),
    "accept_gaps": (N_("It was accepted; some materials may follow"), ""),
    "accept_deemed": (N_("It counts as accepted, because nothing was told in time"), ""),
    "done_at_once": (N_("It was done at once and handed out"), ""),
    "refuse_acceptance": (N_("It was not accepted"), N_("It was not accepted; turn to: {where_to_turn}")),
    "lapse": (N_("It has ended: what was missing did not come in time"), ""),
    "reassign": (N_("It was given to another unit"), N_("It was given to another unit: {unit}")),
    "survey_call": (N_("A visit to the place was arranged"), N_("A visit to the place was arranged: {survey_at}")),
    "survey_move": (N_("The visit was moved"), N_("The visit was moved to {survey_at}")),
    "survey_record": (N_("The place was looked at"), ""),
    "material_wrong": (N_("A material that followed is not right; please hand it in again"), ""),
    "hand_up": (N_("It was sent to the level above"), N_("It was sent to: {level}")),
    "hand_back": (N_("The level above has answered"), N_("The level above has answered: {handover_decision}")),
    "grant": (N_("It was granted"), ""),
    "deny": (N_("It was not granted"), ""),
    "denial_agree": (N_("It was not granted"), ""),
    "deliver": (N_("The result was handed out"), ""),
    "choose_pickup": (N_("You chose where to fetch the result"), ""),
    "record_fee": (N_("The fee was recorded"), N_("The fee was recorded: {fee_amount} yuan")),
    "register": (N_("It was registered"), N_("It was registered and given to {unit}")),
    "reply_at_once": (N_("It was answered"), ""),
    "file": (N_("It was filed"), ""),
    # By number alone, as `dispatch.stranger` names steps of a private affair.
    "decide": (N_("It was decided"), ""),
    "end": (N_("It has ended"), ""),
    "information.notice": (N_("You were asked to say more clearly what you ask for"), ""),
    "information.supply": (N_("You said more clearly what you ask for"), ""),
}
#: Rung of the ladder → who was told that a limit ran out.
RUNGS: Mapping[str, str] = {
    "unit_head": N_("the head of the unit"),
    "centre": N_("the district centre"),
    "supervision": N_("supervision"),
}
#: What a look at the place found.
CHECKED: Mapping[str, str] = {"pass": N_("it is done"), "fail": N_("it is not done yet")}
#: What was opened, as the person concerned calls it.
OPENED: Mapping[str, str] = {
    "name": N_("your name"),
    "phone": N_("your telephone"),
    "recording": N_("the recording of your call"),
}


def of(table: Mapping[str, Told], process: str, name: str, otherwise: Told) -> Told:
    """Return what a table says of a state or an action: a process's own words before the common ones."""
    return table.get(f"{process}.{name}", table.get(name, otherwise))
