"""Answers on the post itself 回复: an adapter of `hotline.outward` that comments on a mention, each answer once.

Before words leave the house the try is written down; after a try whose outcome is not known, the post's comments are
looked through for the very words before anything is sent again. What it sends is for everybody to read, so personal
numbers are blotted out once more here.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from core.actor import system
from core.db import actor_of, transaction
from core.errors import NotFound, WanggeError
from hotline.masking import mask
from hotline.outward.adapters import Adapter, Later, Outgoing, Refused, Sent
from hotline.outward.models import Delivery
from hotline.weibo.inbox import changed, gone, note
from hotline.weibo.models import Mention
from hotline.weibo.platform import Declined, Gone, Halted, Platform, Unknown

#: One try may take so long; and the platform shows a comment up to two minutes after it took it.
LEASE: Final = timedelta(minutes=3)
#: Longest comment; two letters of ASCII count as one character.
LONGEST: Final = 140
_TOKEN_WAIT: Final = timedelta(minutes=10)
_ADDRESS = re.compile(r"https?://[\x21-\x7e]+")
_BLANK = re.compile(r"[\s\u200b]+")
#: How people are addressed by name, which nobody else needs to read.
_NAMED = re.compile(r"(?:尊敬的)?[\u4e00-\u9fff]{1,2}(?:某+)?(?:先生|女士|小姐|同志)")


class WeiboReply:
    """Comments on posts; safe to repeat, and to be killed at any moment."""

    name = "weibo"

    def __init__(
        self,
        platform: Platform | None,
        *,
        clock: Callable[[], datetime],
        instead: Adapter | None = None,
        bind: Engine | None = None,
    ) -> None:
        """platform: where comments are posted. instead: takes them where nothing may leave the house (the sink)."""
        self._platform, self._clock, self._instead, self._bind = platform, clock, instead, bind

    def send(self, message: Outgoing) -> Sent:
        """Post one answer on the post whose id is the address; raises Refused or Later."""
        district = str(message.extra.get("district") or "")
        words = public(message.text, str(message.extra.get("number") or ""))
        earlier = self._claim(district, message, words)
        if isinstance(earlier, Sent):
            return earlier
        try:
            comment = self._post(district, message, words, looks=earlier)
        except Gone as error:
            self._release(district, message.address, "gone")
            raise Refused("the post is gone") from error
        except Declined as error:
            self._release(district, message.address, error.said, final=True)
            raise Refused(error.said) from error
        except Unknown as error:
            # The lease stays: nobody tries again before the platform shows what it took.
            raise Later("not known whether it was taken", LEASE) from error
        except Halted as error:
            self._release(district, message.address, f"{error.kind}: {error.said}")
            wait = error.wait or (_TOKEN_WAIT if error.kind == "token" else None)
            # What cannot be read may be this post's own trouble: it counts as a try, and is given up some day.
            raise Later(f"{error.kind}: {error.said}", wait, down=error.kind != "odd") from error
        except (Refused, Later, WanggeError) as error:
            self._release(district, message.address, str(error))
            raise
        self._settle(district, message.address, words, comment)
        return Sent(comment)

    def _post(self, district: str, message: Outgoing, words: str, *, looks: bool) -> str:
        if self._instead is not None:
            return self._instead.send(
                Outgoing(message.key, message.address, message.subject, words, message.extra)
            ).receipt
        if self._platform is None or not message.address.isdecimal():
            raise Refused("no post on the platform: answer it by hand")
        now = self._platform.post(message.address)
        with transaction(system(district, "weibo"), bind=self._bind) as session:
            changed(session, _locked(session, message.address), now, at=self._clock())
        if looks and (found := self._found(message.address, words)):
            return found
        with transaction(system(district, "weibo"), bind=self._bind) as session:
            row = _locked(session, message.address)
            before, row.tried_at = row.tried_at, self._clock()
        try:
            return self._platform.comment(message.address, words)
        except (Halted, Declined, Gone):
            # Surely not taken.
            with transaction(system(district, "weibo"), bind=self._bind) as session:
                _locked(session, message.address).tried_at = before
            raise

    def _found(self, post_id: str, words: str) -> str:
        """Return the id of our comment with these words; empty for none."""
        assert self._platform is not None
        same = (one.id for one in self._platform.own_comments(post_id) if _compared(one.text) == _compared(words))
        return next(same, "")

    def _claim(self, district: str, message: Outgoing, words: str) -> Sent | bool:
        """Take the right to try, and return whether an earlier try may have got through; Sent where it was told."""
        at = self._clock()
        with transaction(system(district, "weibo"), bind=self._bind) as session:
            try:
                row = _locked(session, message.address)
            except NotFound as error:
                raise Refused("no such mention") from error
            if _said_by_hand(session, message):
                return Sent(row.comment_id or "")
            if row.replied_at is not None and row.reply == words:
                return Sent(row.comment_id or "")
            if row.deleted_at is not None:
                raise Refused("the post is gone")
            if row.next_at is not None and row.next_at > at:
                raise Later("another try is on its way", row.next_at - at)
            if row.reply != words:
                # Another answer than the last one: what was tried before was not this one.
                row.tried_at = None
            row.reply, row.next_at, row.tries = words, at + LEASE, row.tries + 1
            return row.tried_at is not None

    def _release(self, district: str, post_id: str, why: str, *, final: bool = False) -> None:
        at = self._clock()
        with transaction(system(district, "weibo"), bind=self._bind) as session:
            row = _locked(session, post_id)
            row.next_at, row.failure = None, why[:300]
            if why == "gone":
                gone(session, row, at=at)
            elif final:
                note(session, row.id, "failed", at=at, reason=why[:300])

    def _settle(self, district: str, post_id: str, words: str, comment: str) -> None:
        at = self._clock()
        with transaction(system(district, "weibo"), bind=self._bind) as session:
            row = _locked(session, post_id)
            row.state, row.reply, row.comment_id = "replied", words, comment[:100]
            # The duty is done with the first answer; a later one is told, too, and does not make it late.
            row.replied_at = row.replied_at or at
            row.next_at = row.failure = None
            note(session, row.id, "replied", at=at, comment=comment[:100], words=words)


def _said_by_hand(session: Session, message: Outgoing) -> bool:
    """Return whether a person answered on the post after this delivery was leased, which counts it as sent."""
    query = select(Delivery.state).where(
        Delivery.district_code == actor_of(session).district, Delivery.id == message.key
    )
    return session.scalar(query) == "sent"


def public(text: str, number: str) -> str:
    """Return an answer as everybody may read it: without personal numbers and names, at most LONGEST long.

    number: the matter's own, which stays.
    """
    parts = text.split(number) if number else [text]
    plain = number.join(_NAMED.sub("网友", mask(part)) for part in parts)
    if _width(plain) <= 2 * LONGEST:
        return plain
    while _width(plain) > 2 * LONGEST - 2:
        plain = plain[:-1]
    return plain + "…"


def _width(text: str) -> int:
    return sum(1 if ord(letter) < 128 else 2 for letter in text)


def _compared(text: str) -> str:
    """Return a comment as it is compared: the platform shortens addresses and escapes signs."""
    return _BLANK.sub("", unicodedata.normalize("NFC", _ADDRESS.sub("", html.unescape(text))))


def _locked(session: Session, post_id: str) -> Mention:
    query = select(Mention).where(Mention.district_code == actor_of(session).district, Mention.post_id == post_id)
    found = session.scalars(query.with_for_update()).one_or_none()
    if found is None:
        raise NotFound("There is no such mention.")
    return found
