"""Invented names for a fictional district: roads, lanes, estates, shops; each given out once, the same for a seed."""

import random
from typing import Final

_FIRST: Final = "云霞沐清晴岚听松竹兰芷若溪汀渚涵碧映雪秋枫朝晖望舒星语锦绣鹤鸣鹿呦景和瑞嘉禾穗丰谷稻香蓝澜沧浪波"
_SECOND: Final = "安宁泰康平顺兴旺昌盛隆裕丰荣华茂达通远航启明德仁义礼信诚和睦乐欣悦春夏秋冬月阳光辉晨曦川源泉湾"
#: sort → (type path in the style of the national point-of-interest catalogues, endings).
_SORTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "estate": (
        "商务住宅;住宅区;住宅小区",
        ("花园", "家园", "苑", "小区", "雅居", "名苑", "新村", "公馆", "里", "华庭"),
    ),
    "shop": (
        "购物服务;便民商店/便利店;便利店",
        ("便利店", "生活超市", "水果店", "五金店", "服装店", "烟酒行", "药房", "文具店", "手机店", "母婴店", "花店"),
    ),
    "food": (
        "餐饮服务;中餐厅;中餐厅",
        ("饭店", "面馆", "茶餐厅", "烧烤店", "火锅店", "早餐店", "奶茶店", "小炒", "粥铺"),
    ),
    "school": ("科教文化服务;学校;学校", ("小学", "中学", "幼儿园", "实验学校", "职业技术学校")),
    "clinic": ("医疗保健服务;诊所;诊所", ("社区卫生服务站", "医院", "口腔门诊", "中医馆")),
    "park": ("风景名胜;公园广场;公园", ("公园", "广场", "口袋公园", "湿地公园")),
    "stop": ("交通设施服务;公交车站;公交车站", ("公交站",)),
    "market": ("购物服务;综合市场;农贸市场", ("农贸市场", "综合市场", "肉菜市场")),
    "hotel": ("住宿服务;宾馆酒店;宾馆酒店", ("酒店", "宾馆", "公寓酒店")),
    "bank": ("金融保险服务;银行;银行", ("银行营业厅", "农商银行网点")),
    "mall": ("购物服务;商场;购物中心", ("广场", "百货", "购物中心", "商业城")),
    "office": ("商务住宅;楼宇;商务写字楼", ("大厦", "商务中心", "国际中心")),
    "factory": (
        "公司企业;工厂;工厂",
        ("电子厂", "五金制品厂", "家具有限公司", "塑料制品厂", "包装厂", "纺织有限公司", "机械厂"),
    ),
    "logistics": ("生活服务;物流速递;物流", ("物流园", "货运站", "仓储中心")),
    "garage": ("汽车服务;汽车维修;汽车维修", ("汽修厂", "轮胎店", "洗车行")),
}


class Names:
    """Gives out names that were not given out before."""

    def __init__(self, seed: int) -> None:
        """Begin for a seed; the same calls in the same order give the same names."""
        self._chance = random.Random(f"names/{seed}")  # noqa: S311  names, not secrets
        self._used: set[str] = set()

    def town(self) -> str:
        """Return the name of a town 街道/镇."""
        return self._new("街道" if self._chance.random() < 0.6 else "镇")

    def community(self) -> str:
        """Return the full name of a community 社区."""
        return self._new("社区居委会")

    def road(self, *, main: bool) -> str:
        """Return the name of a road, an avenue 大道 more often for a main one."""
        return self._new(
            self._chance.choice(("大道", "路", "路", "北路", "东路") if main else ("路", "街", "街", "横路"))
        )

    def lane(self) -> str:
        """Return the name of a lane inside a cell."""
        return self._new(self._chance.choice(("巷", "里弄", "横街", "坊")))

    def place(self, sort: str) -> str:
        """Return the name of a place of a sort."""
        return self._new(self._chance.choice(_SORTS[sort][1]))

    @staticmethod
    def path(sort: str) -> str:
        """Return the type path of a sort of place."""
        return _SORTS[sort][0]

    def _new(self, ending: str) -> str:
        choice = self._chance.choice
        for tries in range(200):
            # Two characters are what people expect; a third comes in when those are used up.
            middle = choice(_SECOND) if tries > 8 else ""
            name = f"{choice(_FIRST)}{middle}{choice(_SECOND)}{ending}"
            if name not in self._used:
                break
        else:
            name = f"{choice(_FIRST)}{choice(_SECOND)}{len(self._used)}号{ending}"
        self._used.add(name)
        return name
