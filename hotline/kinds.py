"""What a message wants: complaint, help, enquiry, suggestion or praise; knows phrases only, nothing of categories.

There is no labelled corpus of kinds to learn from, so this is a table of weighted phrases that a clerk can read and
dispute. The first sentence, often a title, weighs more, because people say there what they want; further on the same
phrases are often rhetoric ("请问还有王法吗"), manners, or a side remark.
"""

import re
from typing import Final, Literal

#: 诉求类型: 投诉, 求助, 咨询, 建议, 表扬.
Kind = Literal["complaint", "help", "enquiry", "suggestion", "praise"]

#: What weighs more: the first sentence after a greeting, so many characters at most, or all of a short message.
_OPENING: Final = 42
_FIRST: Final = re.compile(rf"(?:[^。！!？?\n]{{1,10}}[！!])?[^。！!？?\n]{{1,{_OPENING}}}[？?]?")
_SHORT: Final = 80
#: The kind a message falls to when no phrase speaks; most messages on a hotline are complaints.
_DEFAULT: Final[Kind] = "complaint"
#: Weight that a kind must reach, so that one polite word does not turn a complaint into an enquiry.
_FLOOR: Final = 2.0

#: In the first sentence, elsewhere once, elsewhere again.
_WHERE: Final = (1.5, 0.6, 0.3)
_PHRASES: Final[dict[Kind, tuple[tuple[float, str], ...]]] = {
    "enquiry": (
        (2.0, "请问|咨询|想问|想了解|想咨询|询问|请教|想知道|问一下|问下"),
        (
            1.2,
            "(?:如何|怎么|怎样)办理|手续问题|需要什么(?:材料|条件|手续)|需要哪些|(?:什么时候|何时)(?:能|可以|开通|开工|建成|动工|搞)",
        ),
        (0.8, "是否(?:可以|能|符合|属于|有)|能否|可不可以|能不能|多少钱|在哪里(?:办|交|领)|[?？]"),
    ),
    "suggestion": (
        (
            2.2,
            (
                "希望(?:有关部门|相关部门|政府|能|可以)?(?:在|对|给|把|为)|(?:能不能|可不可以|是不是可以|能否)考虑|"
                "能不能(?:在|给|把)[^，。]{2,20}(?:加|设|装|放|建|种|修一)"
            ),
        ),
        (2.4, "建议|提议|提个建议|几点想法|倡议|意见和建议|合理化"),
        (
            1.5,
            "(?:请|希望|呼吁|盼|恳请|期待)[^，。]{0,16}(?:加快|加强|加大|拉通|增设|增加|加装|开通|优化|改进|新建|延长|推迟|统一)|刻不容缓",
        ),
        (1.0, "希望(?:能)?(?:增设|增加|加装|开通|建设|新建|设立|优化|改进)|最好能|不妨|可否考虑"),
        (1.3, "(?:无|没有)(?:高杆灯|路灯|天桥|公园|停车场|车站|站台|公厕|红绿灯|斑马线)|何时能?够?(?:进行|建|拉通|亮)"),
    ),
    "praise": (
        (3.0, "表扬|点赞|感谢信|锦旗|致谢|好人好事|拾金不昧|特此感谢|非常感谢.{0,12}(?:帮助|解决|处理)"),
        (
            2.2,
            (
                "感谢[^。]{0,40}(?:已经?(?:有|得到|解决|修|恢复|处理)|得到了?(?:解决|重视|落实|批复))|"
                "(?:已经?|得到了?|进行了)[^。]{0,12}(?:解决|重视|沟通|批复|落实)[^。]{0,12}谢"
            ),
        ),
        (1.0, "衷心感谢|热心|服务态度(?:很|非常)?好|已经(?:解决|修好)了.{0,6}(?:谢|赞)"),
    ),
    "help": (
        (2.6, "求助|求救|救命|帮帮|请求帮助|急需(?:帮助|救援)|寻求帮助|被困|走失|无家可归"),
        (2.4, "请求(?:协助|援助)|急需有?人|请人?帮[帮一]|恳请帮"),
        (1.6, "请求[^，。]{0,20}(?:解决|修缮|修复|立项|补发|安置|落实|支付|救助)|渴望|心声|困扰|退休待遇|诉求"),
        (1.2, "请(?:帮忙|帮助|协助)|恳请.{0,6}(?:帮|救)|生活困难|没有办法了|孤寡|低保|申请救助|急需"),
    ),
    "complaint": (
        (2.6, "投诉|举报|控诉|曝光|检举|强烈要求|强烈反对|坚决反对"),
        (
            1.4,
            (
                "扰民|乱收费|不作为|违规|违法|非法|无人(?:管|处理)|没人(?:管|处理|修)|拖欠|拒不|克扣|欺骗|虚假|刁难|推诿|不合理|"
                "霸王|擅自|强制|乱象|黑恶|涉黑|破裂|故障|豆腐渣|不取缔|何时(?:除|能了|了结)|不准点|垄断|恶性"
            ),
        ),
        (0.9, "严重影响|臭味|噪音|脏乱差|堵塞|破损|坏了|漏水|占道|违建|停水|停电|隐患|苦不堪言|^反映"),
    ),
}
_RULES: Final = tuple(
    (kind, weight, re.compile(pattern)) for kind, rules in _PHRASES.items() for weight, pattern in rules
)
#: Thanks paid in advance are manners, not praise; a polite opening says nothing about the kind.
_MANNERS: Final = re.compile(
    r"(?:谢谢|感谢)(?:领导|您|你们|政府)?(?:的)?(?:关注|关心|重视|支持|百忙)|不胜感激|万分感谢|没人点赞"
)


def kind_of(text: str) -> Kind:
    """Return the kind 诉求类型 that the phrases of a text speak for most; `complaint` when none does."""
    plain = _MANNERS.sub("", text)
    first = _FIRST.search(plain)
    end = len(plain) if len(plain) <= _SHORT else first.end() if first else 0
    scores: dict[Kind, float] = {}
    for kind, weight, pattern in _RULES:
        # Three repetitions say no more than one shout.
        opening = pattern.search(plain, 0, end) is not None
        later = sum(1 for _ in zip(pattern.finditer(plain, end), range(2), strict=False))
        share = opening * _WHERE[0] + (later > 0) * _WHERE[1] + (later > 1) * _WHERE[2]
        if share:
            scores[kind] = scores.get(kind, 0.0) + weight * share
    best = max(scores, key=lambda kind: scores[kind], default=_DEFAULT)
    if best == _DEFAULT or scores[best] < _FLOOR:
        return _DEFAULT
    return best
