"""A switchboard for trying things out: tells the webhook of one invented call, step by step, as a real one would."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import httpx
import orjson

from core.errors import Unavailable
from hotline.telephone.bridge import Target
from hotline.telephone.hook import sign


@dataclass(frozen=True, slots=True)
class Script:
    """One call: seconds until it is picked up (None: never), and seconds from then until it ends."""

    caller: str
    extension: str
    line: str
    rings_s: float
    talks_s: float
    answered: bool = True


def play(target: Target, script: Script, *, now: Callable[[], datetime], say: Callable[[str], None]) -> None:
    """Tell the events of a call at the times that it would have; raises Unavailable when one is not taken."""
    call = f"try-{uuid.uuid4().hex[:12]}"
    told = {"caller": script.caller, "line": script.line}
    steps: list[tuple[str, str, float]] = [("ring", "", 0.5), ("ring", script.extension, script.rings_s)]
    if script.answered:
        steps.append(("answer", script.extension, script.talks_s))
    steps.append(("hangup", "", 0.0))
    with httpx.Client(timeout=10.0, trust_env=False) as client:
        for no, (kind, extension, then_s) in enumerate(steps):
            at = now()
            event = told | {"id": f"{call}-{no}", "call": call, "event": kind, "at": at.isoformat()}
            event |= {"extension": extension} if extension else {}
            body, stamp = orjson.dumps(event), int(at.timestamp())
            headers = {
                "Wangge-Timestamp": str(stamp),
                "Wangge-Signature": sign(body, key=target.key, timestamp=stamp),
            }
            try:
                answer = client.post(target.url, content=body, headers=headers)
            except httpx.HTTPError as error:
                raise Unavailable("The webhook does not answer.") from error
            if answer.status_code != 200:
                raise Unavailable("The webhook answers {status}.", status=answer.status_code)
            say(f"{kind} {extension}".strip())
            time.sleep(then_s)
