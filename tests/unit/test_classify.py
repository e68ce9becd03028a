"""The rules of category, kind and urgency, on the shipped model; real messages are measured in bench/classify.py."""

import json
import zipfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from hotline.categories import CategoryTree, Node
from hotline.classify import SHIPPED, Classifier, grams, plain
from hotline.kinds import kind_of
from hotline.train import evaluate, own_sentences, train
from hotline.urgency import alarm

LEVEL1 = {"城乡建设", "环境保护", "交通运输", "教育文体", "劳动和社会保障", "商贸旅游", "卫生计生"}


@pytest.fixture(scope="module")
def shipped():
    return Classifier.load(SHIPPED)


@pytest.mark.parametrize(
    ("text", "level1"),
    [
        ("楼下烧烤店油烟太大，熏得人睡不着", "环境保护"),
        ("公司欠我们三个月工资一直不发", "劳动和社会保障"),
        ("学校食堂伙食差，还要强制交补课费", "教育文体"),
        ("出租车司机拒载还绕路", "交通运输"),
        ("医院乱开检查单，医生态度很差", "卫生计生"),
        ("小区物业不修路灯，楼道漆黑", "城乡建设"),
        ("旅行社强制购物，导游骂人不肯退团费", "商贸旅游"),
    ],
)
def test_plain_complaints_get_their_category(shipped, text, level1):
    assert shipped.classify(text).level1 == level1


def test_the_shipped_model_knows_the_seven_names(shipped):
    assert set(shipped.classes) == LEVEL1


@pytest.mark.parametrize("text", ["", " ", "？？？", "12345", "啊", "\x00\x01", "hello world", "🙂🙂"])
def test_a_text_that_says_nothing_gets_no_category(shipped, text):
    found = shipped.classify(text)
    assert found.level1 is None
    assert len(found.categories) == 3


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_probabilities_are_probabilities_for_any_text(text):
    found = _MODEL.probabilities(text)
    assert found.shape == (7,)
    assert float(found.sum()) == pytest.approx(1, abs=1e-4)
    assert (found >= 0).all()


_MODEL = Classifier.load(SHIPPED)


def test_the_words_that_decided_stand_in_the_text(shipped):
    text = "小区物业不修路灯，楼道漆黑，垃圾也没人清运"
    words = shipped.classify(text).words
    assert words
    assert all(word in text for word in words)


def test_the_words_that_decided_are_words_and_not_pieces(shipped):
    for text in ("垃圾没人清运好几天了，臭得很", "主水管漏了一整夜，路边工地拖欠工资", "希望在空地上划一批夜间车位"):
        decided = set(shipped.classify(text).words)
        assert not decided & {"好几", "几天", "没人清", "边工", "了一", "望在"}, decided


def test_grams_are_all_of_one_to_four_characters():
    assert sorted(grams("甲乙丙")) == sorted(["甲", "乙", "丙", "甲乙", "乙丙", "甲乙丙"])
    assert plain("A1区，路灯 坏了!") == "a区路灯坏了"


def test_one_text_is_scored_as_counting_its_grams_by_hand_scores_it(shipped):
    texts, _ = own_sentences(1)
    for text in (*texts[::40], "".join(texts[:30]), "路路路路路路路灯灯灯坏了"):
        scores = shipped._bias.astype(float).copy()
        for part, rows_of, weight in ((plain(text), shipped._body, 1.0), (plain(text)[:24], shipped._opening, 0.5)):
            slots = Counter(s for s in (shipped._automaton.get(g, -1) for g in grams(part)) if s >= 0)
            counts = {int(rows_of[slot]): n for slot, n in slots.items() if rows_of[slot] >= 0}
            values = {row: (1 + np.log(n)) * float(shipped._idf[row]) for row, n in counts.items()}
            length = sum(value**2 for value in values.values()) ** 0.5 or 1.0
            scores += sum(weight * value / length * shipped._weights[row] for row, value in values.items())
        odds = np.exp((scores - scores.max()) / shipped._temperature)
        assert shipped.probabilities(text) == pytest.approx(odds / odds.sum(), abs=1e-3)


# --- urgency -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("三楼着火了，浓烟滚滚，快来人", "119"),
        ("楼道里有很浓的煤气味，怀疑燃气泄漏", "119"),
        ("我被困在电梯里二十分钟了", "119"),
        ("门口围墙倒了，有人压在下面", "119"),
        ("电线断落在人行道上冒火花", "119"),
        ("一位老人被倒下的墙压住了，请马上来救人", "119"),
        ("老人突然昏倒，叫不醒", "120"),
        ("孩子落水了，在河边", "120"),
        ("楼下有人持刀追人", "110"),
        ("水淹到胸口了，请求救援，有老人孩子", "119"),
        ("有人站在天台要跳楼", "110"),
    ],
)
def test_danger_to_life_is_an_emergency(text, call):
    found = alarm(text)
    assert (found.level, found.call) == ("emergency", call)


@pytest.mark.parametrize(
    "text",
    [
        "防火门坏了一直没人修",
        "消防通道被杂物堵住，存在火灾隐患",
        "昨天电线短路，幸好没有着火，也没有人受伤",
        "如果着火了消防车根本进不来",
        "去年这里发生过火灾，赔偿到现在没有下文",
        "建议社区组织一次火灾逃生演练",
        "火锅店油烟大，火车站附近很吵",
        "这个问题困扰我们很久了",
        "学费贵得像跳楼价还不退",
        "围墙开裂，随时可能倒塌",
        "希望加强防溺水宣传",
        "工伤认定：我被电到是在三年前",
        "燃气打不着火，客服说不清什么时候恢复",
    ],
)
def test_words_that_are_taken_back_raise_no_emergency(text):
    assert alarm(text).level != "emergency"


@pytest.mark.parametrize(
    "text",
    [
        "小区从早上开始停水到现在",
        "整栋楼停电了，冰箱里的东西都坏了",
        "天然气停了，做不了饭",
        "路面塌陷出一个大坑",
        "井盖不见了，晚上很危险",
        "台风把大树吹倒压住了路",
        "燃气打不着火，一家人没法做饭",
        "门口消防栓爆了，水流得满街都是",
    ],
)
def test_water_power_gas_and_roads_are_utilities(text):
    assert alarm(text).level == "utilities"


@pytest.mark.parametrize(
    "text",
    [
        "请问停水通知在哪里看？去年停水的补偿",
        "物业费太贵",
        "希望多种树",
        "",
        "建议停水前两天贴通知",
        "每逢暴雨这里就积水",
    ],
)
def test_other_matters_are_ordinary(text):
    assert alarm(text).level == "ordinary"


# --- kind ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("请问公租房怎么申请，需要什么材料？", "enquiry"),
        ("建议在路口增设一个红绿灯", "suggestion"),
        ("表扬公交司机拾金不昧，特此感谢", "praise"),
        ("求助：老人走失了，请帮忙寻找", "help"),
        ("投诉物业乱收费，多次反映无人处理", "complaint"),
        ("噪音扰民，请问到底有没有人管，严重影响休息，拒不整改，违规施工", "complaint"),
        ("路灯坏了", "complaint"),
        ("工厂偷排废水，举报多次，感谢领导关注", "complaint"),
    ],
)
def test_the_kind_follows_the_phrases(text, kind):
    assert kind_of(text) == kind


# --- tree ----------------------------------------------------------------------------------------------------------

TREE = CategoryTree(
    [
        Node("01", "环境保护"),
        Node("0101", "环境污染", "01"),
        Node("010101", "噪音污染", "0101"),
        Node("010102", "水污染", "0101"),
        Node("0102", "环保管理", "01"),
        Node("010201", "其他", "0102"),
    ]
)


def test_a_deeper_name_is_given_when_its_words_stand_in_the_text():
    assert TREE.place("环境保护", "工地夜间噪音太大", probability=0.9).code == "010101"
    assert TREE.place("环境保护", "工厂污水直排河里", probability=0.9).code == "010102"


def test_no_deeper_name_is_guessed():
    assert TREE.place("环境保护", "这个事情请管一管", probability=0.9).code == "01"
    assert TREE.place("科技", "这个事情请管一管", probability=0.9).code == ""


def test_the_classifier_gives_codes_of_the_district(shipped):
    with_tree = Classifier.load(SHIPPED, tree=TREE)
    best = with_tree.classify("工厂半夜偷排污水，河水发黑发臭").categories[0]
    assert best.code == "010102"
    assert best.name == "环境保护/环境污染/水污染"


# --- training and files --------------------------------------------------------------------------------------------


def _labelled(path, rows):
    path.write_text("text,level1\n" + "\n".join(f"{text},{name}" for text, name in rows) + "\n", encoding="utf-8")
    return path


def test_training_learns_a_district_category_and_replaces_the_file_whole(tmp_path):
    texts, classes = own_sentences(1)
    rows = [(text.replace(",", "，"), name) for text, name in zip(texts, classes, strict=True)][::6]
    rows += [(f"宽带网速慢第{i}次报修，路由器信号断断续续", "科技与信息产业") for i in range(12)]
    out = tmp_path / "model.npz"
    out.write_bytes(b"old")
    made = train(_labelled(tmp_path / "t.csv", rows), out)
    model = Classifier.load(out)
    assert model.version == made.model
    assert model.classify("宽带网速慢，路由器信号断断续续").level1 == "科技与信息产业"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.npz", "t.csv"]
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))["version"] == made.model
    again = evaluate(model, _labelled(tmp_path / "d.csv", rows))
    assert again.messages == len(rows)
    assert 0.8 < again.macro_f1 <= 1


def test_a_file_without_labels_is_refused_and_the_old_model_stays(tmp_path):
    out = tmp_path / "model.npz"
    out.write_bytes(b"old")
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(Invalid):
        train(bad, out)
    with pytest.raises(Invalid):
        train(tmp_path / "absent.csv", out)
    assert out.read_bytes() == b"old"


def _damaged(path, how):
    if how == "absent":
        return path
    if how == "text":
        path.write_text("not a model", encoding="utf-8")
    elif how == "cut":
        path.write_bytes(SHIPPED.read_bytes()[:4000])
    elif how == "pickle":
        np.savez(path, meta=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif how == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("meta.npy", b"")
    else:
        with np.load(SHIPPED) as arrays:
            kept = dict(arrays)
        kept["weights"] = kept["weights"][:-5] if how == "shape" else kept["weights"] * np.float16("nan")
        np.savez(path, **kept)
    return path


@pytest.mark.parametrize("how", ["absent", "text", "cut", "pickle", "zip", "shape", "nan"])
def test_a_damaged_model_file_falls_back_to_the_shipped_one_aloud(tmp_path, caplog, how):
    model = Classifier.load(_damaged(tmp_path / "model.npz", how))
    assert model.version.startswith("shipped-")
    assert "cannot be used" in caplog.text


def test_the_shipped_model_is_small():
    assert SHIPPED.stat().st_size < 2 << 20
