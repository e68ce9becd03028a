"""How urgent a message is, by words with guards; knows nothing of limits, which are the district's data.

Three answers. `emergency`: somebody's life is in danger now, the matter belongs to 110, 119 or 120. `utilities`: water,
power, gas, a sunken road, extreme weather: a two-hour matter by default. `ordinary`: everything else.
A word counts only where nothing around it takes it back: compounds that merely contain it (防火门, 火锅), negation
(没有人受伤), supposition (万一着火), the past (去年发生的火灾), and drills or rules (消防演练).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

#: 紧急程度: 紧急 (110/119/120), 水电气热与极端天气, 一般.
Urgency = Literal["emergency", "utilities", "ordinary"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """What was found: the level, the words that decided, and the number to call for an emergency."""

    level: Urgency
    #: The phrases as they stand in the text.
    words: tuple[str, ...] = ()
    #: "119", "120", "110"; empty unless the level is `emergency`.
    call: str = ""


#: Compounds that contain an alarming word and mean something else; blotted out before anything is looked for.
_HARMLESS: Final = re.compile(
    "防火|消防(?!车来|栓)|[打点]不着火|打不上火|灭火器|火车|火锅|火爆|红火|火热|发火|火化|火葬|恼火|烟火气|香火|火炬|萤火|战火|火腿|炉火|火龙果|火气|怒火|火速|"
    "着火点|起火点|爆炸性|信息爆炸|爆炸式|口腔溃疡|经济崩溃|坍塌式|断崖|触电视|溺爱|沉溺|被困扰|困扰|困难|贫困|围困|"
    "中毒已深|病毒|杀毒|毒品|自杀式|心脏位置|地震局|地震带|抗震|水电站|停水桩|台风级|爆管道工|电梯广告|"
    "救命(?:钱|稻草|药|恩人|之恩|通道)|道德绑架|杀人不见血|[0-9一二三两几]+起火灾|起火爆料|抢劫式|自燃烧|"
    "割喉价|跳楼价|自焚式|燃气公司|燃气费|燃气表|煤气罐车|用电安全|安全生产",
)
#: What takes a word back when it stands shortly before it, inside the same clause.
_BEFORE_IT: Final = (
    "(?:没有?|未|无|并非|不是|不会|避免|防止|预防|以免|杜绝|严防|谨防|防范|排除)(?:发生|造成|出现|导致|引起|引发|任何|人|人员|再|继续|过)*$"
    "|(?:每逢|每次|每到|一到|{habit}咨询|了解|请问|想问|如果|如有|试想|想象|一但|若是|加大|快要|即将|将要|以防|简直|等于|企图|近期|类似|听说|新闻|引起|会|可|"
    "要是|万一|假如|一旦|倘若|若|假设|会不会|可能|容易|易|随时|极易|恐|担心|害怕|怕|以后|将来|迟早|潜在|存在)[^，。！？；,.!?;]{0,12}$"
    "|(?:去年|前年|上个月|上月|前几年|多年前|当年|曾经?|以前|之前|年前|[一二三四五六七八九十两几0-9]+(?:年|个月|月)前?|[0-9]{4}年[^，。！？；]{0,8})[^，。！？；,.!?;]{0,14}$"
)
#: Words of habit: what happens again and again is no emergency of this hour; where it is what a message is about, a
#: water or power cut all the same cannot wait.
_HABIT: Final = "经常|时常|常常|三天两头|动不动|多次|几次|时有|频繁|频频|接二连三|"
_BEFORE: Final = re.compile(_BEFORE_IT.replace("{habit}", _HABIT))
_BEFORE_MATTER: Final = re.compile(_BEFORE_IT.replace("{habit}", ""))
#: What takes a word back when it follows it.
_AFTER: Final = re.compile(
    "^[^，。！？；]{0,4}(?:演练|演习|演示)|^(?:点)?(?:整治|治理|改造)|^[前时后](?:[一二两三]|能|要|应)|^到几点|^(?:的)?(?:通知|公告|补偿|频率|次数|隐患|风险|可能|现象|事件|案例|事故|意外|危险|危险性|预案|应急预案|知识|教育|宣传|保险|险|事故处理|事故责任|赔偿|认定|鉴定|报告|原因|调查|的话|怎么办|时(?:怎么|如何)|是在|后(?:的)?(?:赔偿|理赔))"
    "|^[^，。！？；]{0,6}(?:怎么办|已(?:经)?(?:扑灭|解决|修好|恢复|获救|脱险))",
)

_EMERGENCY: Final[tuple[tuple[str, str], ...]] = (
    (
        "119",
        "着火了?|起火了?|失火了?|发生(?:了)?(?:严重|重大)?火灾|火灾[！!]|火灾现场|冒(?:着)?浓烟|火势|自燃|烧起来了?|燃起大火|爆炸了?",
    ),
    (
        "119",
        "(?:煤气|燃气|天然气|液化气|瓦斯)(?:管道?)?[^，。！？；]{0,8}(?:泄漏|泄露|漏气|爆裂)|(?:闻到|有)[^，。！？；]{0,8}(?:很浓的?|强烈的?|一股)?(?:煤气|燃气|天然气|液化气)味|漏煤气|煤气中毒",
    ),
    (
        "119",
        "被困(?!扰)|困在(?:电梯|车|屋|水|楼|里面|房)|卡在电梯|关在电梯|压在(?:下面|废墟|车)|(?:人|孩子|小孩|老太太|大爷|师傅)[^，。！？；]{0,10}压(?:住|倒|在)|被埋|埋在(?:下面|土)",
    ),
    (
        "119",
        "(?:房屋|房子|楼房|围墙|墙体|楼板|屋顶|脚手架|桥面?|厂房|天花板|塔吊|山体)[^，。！？；]{0,8}(?:坍塌|倒塌|塌了|垮塌|垮了|倒了|滑坡)|(?:坍塌|垮塌|滑坡)(?:了|，|。|！|,|!|$)",
    ),
    (
        "120",
        "昏迷|昏倒|晕倒|休克|没有?(?:了)?(?:呼吸|心跳)|不省人事|大出血|血流不止|流了?很多血|心脏病发|突发心梗|中风倒地|抽搐不止|倒地不起|快(?:要)?生了|食物中毒|集体中毒|触电(?:了)?|被电(?:到|击)|溺水|落水|掉(?:进|到)(?:河|水|井|坑)里",
    ),
    (
        "119",
        "(?:高压线|电线|电缆|带电)[^，。！？；]{0,10}(?:断(?:了|落|掉)|掉(?:在|到|下|落)|垂(?:到|下)|裸露在外.{0,6}冒火|冒火花|打火花|漏电)|漏电(?:了|伤人|电到)|(?:门口|路口|路边|路面|地面|灯杆|路灯|广告牌|公园|积水|水里)[^，。！？；]{0,5}漏电",
    ),
    (
        "110",
        r"持刀|拿刀|砍人|捅(?:人|伤)|杀人|(?:有人|被|遭)(?:抢劫|绑架|劫持)|要跳楼|想跳楼|跳(?:河|江)了?|(?:要|想|正在|准备|企图)(?:轻生|自杀)|割腕|打群架|正在(?:打人|殴打|行凶)|家暴.{0,6}(?:救命|快)|救命(?=[啊呀！!，,。\s]|$)|孩子(?:走丢|不见|被拐)了?",
    ),
    (
        "119",
        (
            "水位?(?:已经?)?(?:淹|漫|涨)(?:到|过|至)(?:了)?(?:胸|脖|腰|二楼|三楼|屋顶|房顶|1[0-9]{2}|[2-9]米)|"
            "积水[^，。！？；]{0,4}(?:[2-9]|两|二|三)米|(?:急需|请求|等待|紧急|待|专业)救援(?!队|物资|热线)|需要[^，。！？；]{0,4}(?:船|艇)[^，。！？；]{0,2}救|"
            "紧急求[救助]|求救[^，。！？；]{0,12}(?:被困|坐标|地址|位置)|求救助"
        ),
    ),
)
_UTILITIES: Final[tuple[str, ...]] = (
    "(?:停水|断水|没(?:有)?水(?:用|喝|了)|无水可用|供水不足|用水问题|水压(?:特别|很|太|严重|非常)?(?:小|低|不足|不够)|水何时[^，。！？；]{0,4}供|自来水[^，。！？；]{0,6}(?:停|断|没了)|爆管|水管[^，。！？；]{0,6}(?:爆|破裂|断|漏了|在漏|喷水)|消防栓[^，。！？；]{0,6}(?:爆|喷水|漏)|没有一滴水|一滴水都没有|地下室[^，。！？；]{0,3}淹|自来水[^，。！？；]{0,6}(?:发黄|发黑|浑浊|有异味))",
    "(?:停电|断电|没(?:有)?电(?:用|了)|跳闸|变压器[^，。！？；]{0,6}(?:坏|冒烟|烧)|电压(?:太|很|过)低|大面积停)",
    "(?:停气|断气了|没(?:有)?(?:煤气|燃气|天然气)|(?:燃气|天然气|煤气)(?:停|断)|(?:燃气|天然气|煤气)(?:压力[^，。！？；]{0,6}(?:低|小|不足)|[^，。！？；]{0,4}[打点]不着)|停暖|暖气[^，。！？；]{0,4}(?:停|不热))",
    "(?:路面|道路|马路|地面|人行道|公路)[^，。！？；]{0,8}(?:塌陷|坍塌|下陷|沉陷|塌了|陷下去|大坑洞)|塌方|天坑|(?:沙?井盖)[^，。！？；]{0,8}(?:不见|丢失|缺失|没了|被偷|掉|破了|塌)",
    "内涝|水浸(?:街)?|积水[^，。！？；]{0,8}(?:很深|过膝|没过|淹|半米|一米|到膝|无法通行|倒灌)|被(?:水)?淹|(?:一楼|家里?|房子|车库|街道|地方)[^，。！？；]{0,4}淹了|(?:路|桥|堤|坝)[^，。！？；]{0,4}(?:被)?冲[毁垮断]|倒灌|洪水|山洪|泥石流|台风[^，。！？；]{0,10}(?:吹倒|刮倒|刮断|吹断|掀)|暴雨[^，。！？；]{0,12}(?:淹|积水|倒|冲)|大树[^，。！？；]{0,6}(?:倒|压|砸)|树(?:木)?倒(?:了|伏|在)|冰雹|道路结冰|大面积结冰",
    "污水[^，。！？；]{0,8}(?:喷涌|倒灌|涌出)|电梯[^，。！？；]{0,6}(?:坠落|急坠|困人)",
)
_CALLS: Final = tuple((call, re.compile(pattern)) for call, pattern in _EMERGENCY)
_UTILITY: Final = re.compile("|".join(_UTILITIES))
#: One cheap look for any character that an alarm could begin or end with; most messages leave here.
_ANY: Final = re.compile("|".join(f"(?:{pattern})" for pattern in (*(p for _, p in _EMERGENCY), *_UTILITIES)))
#: What takes a phrase back from within: "房屋快要倒塌" is a worry, not a collapse.
_INSIDE: Final = re.compile("快要?[倒坍塌垮]|每逢|每次|快塌|可能|随时|会|要[倒坍垮]|年前|护坡|化粪池")
#: A real emergency is told at once: in the opening of a message, or in a short one. Later in a long letter the same
#: words tell a story, unless something beside them says that it is happening now.
_OPENING: Final = 80
_SHORT: Final = 160
_NOW: Final = re.compile("正在|现在|此刻|这会儿|快来|赶快来|刚刚|刚才|[^不]紧急|等待救援|请求救援|急需|速来|十万火急")
_FIRST: Final = re.compile("[^。！!？?\\n]{1,60}")
#: Characters of context that a guard may look at.
_REACH: Final = 22


def _stands(text: str, start: int, end: int, matter: int) -> bool:
    """Return whether nothing around text[start:end] takes it back, and it is of this hour."""
    if start >= _OPENING and len(text) > _SHORT and not _NOW.search(text[max(0, start - 40) : end + 40]):
        return False
    if _INSIDE.search(text[start:end]):
        return False
    before, after = text[max(0, start - _REACH) : start], text[end : end + _REACH]
    guard = _BEFORE_MATTER if end <= matter else _BEFORE
    return not guard.search(before) and not _AFTER.search(after)


def alarm(text: str) -> Alarm:
    """Return how urgent a text is and by which words; emergencies win over utilities.

    Precision first: a complaint about last year's fire is ordinary. An operator may always raise the level by hand.
    """
    if not _ANY.search(text):
        return Alarm("ordinary")
    plain = _HARMLESS.sub(lambda found: "〇" * len(found.group()), text)
    for call, pattern in _CALLS:
        words = _words(plain, pattern)
        if words:
            return Alarm("emergency", words, call)
    words = _words(text, _UTILITY, matter=_matter(text))
    return Alarm("utilities", words) if words else Alarm("ordinary")


def _matter(text: str) -> int:
    """Return where the first sentence ends, often a title: it says what the message is about."""
    found = _FIRST.search(text)
    return found.end() if found else 0


def _words(text: str, pattern: re.Pattern[str], *, matter: int = 0) -> tuple[str, ...]:
    """Return up to three different phrases of a pattern that stand; matter: end of what the message is about."""
    found = (m.group().rstrip("，。！,!") for m in pattern.finditer(text) if _stands(text, m.start(), m.end(), matter))
    return tuple(dict.fromkeys(found))[:3]
