"""Whoever joins a matter that is answered already 迟到: the known answer is put among the deliveries at once."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.crypto import seal
from core.ids import new_id
from dispatch.models import Case
from dispatch.rulebook import Rulebook
from hotline.outward import templates
from hotline.outward.adapters import recipient, shown
from hotline.outward.models import Delivery
from hotline.weibo.models import Mention

#: States in which the answer stands.
_ANSWERED = frozenset({"replied", "settled", "closed"})


def answered(case: Case) -> bool:
    """Return whether the case has an answer that stands."""
    return bool(case.answer) and case.state in _ANSWERED


def tell(session: Session, book: Rulebook, row: Mention, case: Case, *, address: str, at: datetime) -> bool:
    """Write the delivery of a standing answer to one mention; return whether there are words for it. Writes."""
    line = templates.read(session).find("citizen.reply", "weibo", category=case.category_code or "", state=case.state)
    if line is None or not line.text:
        return False
    values = {
        "number": case.number,
        "address": address,
        "district": book.name,
        "unit": book.unit_name(case.unit_code) or "区网格中心",
        "category": " / ".join(book.category_path(case.category_code)),
        "answer": case.answer or "",
        "state": case.state,
    }
    said = templates.render(line, values)
    delivery = {
        "district_code": book.district,
        "id": new_id(),
        # The mention's own id: told once, however often it is taken.
        "message_id": row.id,
        "topic": "citizen.reply",
        "case_id": case.id,
        "number": case.number,
        "channel": "weibo",
        "recipient": recipient("weibo", row.post_id),
        "address_sealed": seal(row.post_id, context="delivery.address"),
        "shown": shown("weibo", row.post_id),
        "subject": said.subject,
        "text_sealed": seal(said.text, context="delivery.text"),
        "state": "waiting",
        "created_at": at,
        "next_at": at,
    }
    session.execute(insert(Delivery).values(delivery).on_conflict_do_nothing())
    return True
