"""Recognise the names that people give to the parts of a data set, in several languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


USUAL: Final = _set("train training val valid validation test testing")
"""Names that are read as splits without a warning, ignoring case."""

_WORDS: Final[dict[Split, str]] = {
    "train": """
        train training trainset trainval trn learn learning
        entrainement apprentissage entrenamiento addestramento allenamento treino treinamento
        lernen opplaering traning trening treningowy uczacy egitim antrenman pelatihan latih
        trainingsdaten trainingsbilder trainingsset lerndaten
        обучение обучающая обучающий тренировка тренировочная тренировочный трейн навчання
        训练 訓練 学習 學習 훈련 학습 تدريب प्रशिक्षण
    """,
    "val": """
        val valid validation validate validationset valset dev devset eval evaluation
        validierung validacion validazione validacao validatie walidacja walidacyjny dogrulama
        validasi evaluierung evaluacion valutazione avaliacao
        validierungsdaten validierungsbilder
        валидация валидационная валидационный
        验证 驗證 検証 검증 评估 評估 評価 평가 تحقق
    """,
    "test": """
        test testing tests testset tst holdout heldout unseen
        prueba pruebas teste testes prova essai testowy testen testi uji pengujian
        testdaten testbilder
        тест тестовая тестовый проверка
        测试 測試 テスト 試験 테스트 시험 اختبار परीक्षण
    """,
}
_SPLIT_OF: Final = {word: split for split, words in _WORDS.items() for word in words.split()}
_FILLERS: Final = _set(
    """
    set sets data dataset datasets split subset part images image imgs img photos photo pictures
    picture pics files folder dir samples examples class classes labeled labelled full final new
    small daten bilder datos imagenes donnees dati immagini dados imagens выборка данные
    集 用 数据 數據 数据集 數據集 图片 圖片 データ データセット 画像 데이터 데이터셋 세트
    """
)
_CJK_ENDING: Final = re.compile(
    "(用?(数据|數據|图片|圖片|图像|データ|画像|데이터)?(集|セット|셋|세트)?|用)$"
)
_ASCII_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MAX_CHARACTERS: Final = 60
_UNSORTED: Final = _set(
    """
    tosort tobesorted notsorted unsorted sortme needssorting notlabeled notlabelled tolabel
    nolabel nolabels todo
    tocheck toreview pred predict prediction predictions inference
    zusortieren unsortiert nichtsortiert atrier nontrie nontries sinclasificar sinordenar
    porclasificar daordinare paraclassificar несортированные несортированное неразобранное
    未分类 未分類 待分类 未整理 미분류 segpred
    newfolder untitledfolder neuerordner nouveaudossier nuevacarpeta nuovacartella novapasta
    новаяпапка 新建文件夹 新增資料夾 新しいフォルダー 새폴더
    """
)


def split_of(name: str) -> Split | None:
    """Return the split that a folder or table value names, or None.

    Understands a word for the split with fillers, digits and any case: `Training`, `test_set`,
    `train_images`, `train2017`, `held-out`, `テスト用データ`. Other words make it None:
    `train station`.
    """
    words = _words(name)
    found = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    rest = [word for word in words if word not in _SPLIT_OF and word not in _FILLERS]
    if found == {"train", "val"}:
        return "train"  # `train_val`, as `trainval`
    return found.pop() if len(found) == 1 and not rest else None


def split_within(name: str) -> Split | None:
    """Return the split at the beginning or end of a name with other words, or None.

    `seg_train`, `test_flowers`. Only where the folders around it confirm it: `toy train` may be a
    class.
    """
    words = [word for word in _words(name) if word not in _FILLERS]
    ends = {_SPLIT_OF[word] for word in words[:1] + words[-1:] if word in _SPLIT_OF}
    return ends.pop() if len(ends) == 1 else None


def is_unsorted(name: str) -> bool:
    """Return whether a folder's name says that its photos have no class yet."""
    words = _words(name)
    meaning = [word for word in words if word not in _FILLERS or word.startswith("label")]
    return "".join(words) in _UNSORTED or "".join(meaning) in _UNSORTED or is_unlabelled(name)


def is_unlabelled(name: str) -> bool:
    """Return whether a folder's name says that its photos are to be used without labels.

    `unlabelled`, `Unlabeled_images`.
    """
    words = [w for w in _words(name) if w not in _FILLERS or w.startswith("label")]
    return "".join(words) in ("unlabelled", "unlabeled")


def is_generic(name: str) -> bool:
    """Return whether a folder's name says only that it contains photos: `images`."""
    words = _words(name)
    return bool(words) and all(word in _FILLERS or word in ("raw", "original") for word in words)


def _words(name: str) -> list[str]:
    """The words of a name in lower case, without accents and digits; camel case is split."""
    if len(name) > _MAX_CHARACTERS:
        return [name]
    if name.isascii():  # fast, because a hostile zip has very many folders
        words = _ASCII_WORD.findall(name)
        return _joined(word.lower() for word in words)
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    decomposed = unicodedata.normalize("NFKD", spaced.casefold())
    # Only Latin and Greek letters lose their marks: in kana and Devanagari a mark is a letter.
    plain = re.sub(r"(?<=[a-zα-ω])[\u0300-\u036f]+", "", decomposed).replace("ı", "i")
    plain = unicodedata.normalize("NFC", plain)
    words = re.findall(r"[^\W\d_]+(?:[\u093e-\u094d][^\W\d_]*)*", plain)
    words = [_CJK_ENDING.sub("", word) or word for word in words]
    return _joined(words)


def _joined(words: Iterable[str]) -> list[str]:
    text = " ".join(words).replace("hold out", "holdout").replace("held out", "heldout")
    return text.split()
