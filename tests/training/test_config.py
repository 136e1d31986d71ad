from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from jrn_lightning.errors import ConfigError
from jrn_lightning.evaluation import PROTOCOLS
from jrn_lightning.networks import (
    DEFAULT,
    INITIALIZATIONS,
    MUTE_VALUES,
    OPERATIONS,
    SKIPS,
    build,
    is_loose,
    output_scale,
)
from jrn_lightning.training import config
from jrn_lightning.training.task import SCHEDULES
from tests.jobs import ROOT, composed
from tests.kinds import kinds

FILES = [
    (group.name, file.stem)
    for group in sorted((ROOT / "conf").iterdir())
    if group.is_dir() and group.name != "hydra"
    for file in sorted(group.glob("*.yaml"))
]


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_configuration_composes_and_validates(
    group: str, name: str, small_cache: Path
) -> None:
    data = [] if group == "data" else ["data=cache"]
    cfg = composed(*data, f"{group}={name}", f"data.cache={small_cache}")
    config.check(cfg)
    assert config.science(cfg)["arch"]["name"]


@pytest.mark.parametrize("name", [name for group, name in FILES if group == "arch"])
def test_every_architecture_instantiates_and_is_short(name: str) -> None:
    cfg = composed(f"arch={name}")
    arguments = config.plain(cfg.arch)
    assert arguments.pop("name") == name
    modalities = kinds({"depth": 1, "semantic": 5})
    assert output_scale(build(arguments, modalities), modalities, (24, 32)) == 2
    assert len((ROOT / "conf" / "arch" / f"{name}.yaml").read_text().splitlines()) < 10


def test_the_paper_s_five_are_loose_and_coupled_as_it_says() -> None:
    loose = {
        name: is_loose(cfg.operation, cfg.fusion_channels)
        for name in ("cat60", "sum60", "cat10", "cat5", "cat1")
        for cfg in [composed(f"arch={name}").arch]
    }
    assert loose == {"cat60": True, "cat10": True, "sum60": False, "cat5": False, "cat1": False}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("recipe.epoch=3", "epoch"),
        ("recipe.epochs=many", "many"),
        ("trainer.precision=float16", "bfloat16"),
        ("trainer.accelerator=tpu", "gpu"),
    ],
)
def test_a_wrong_key_type_or_value_is_refused_while_composing(override: str, told: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        composed(override)
    assert told in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("foo=1", "no key foo.*: arch, data, recipe, .*overwrite, experiment"),
        ("+foo=1", "no key foo"),
        ("++recipe.epoch=1,2", r"no key recipe\.epoch\. Keys of recipe: name, epochs"),
        ("data.rooms.veiws=3", r"Keys of data\.rooms: seed, train_rooms"),
        ("data.single_task.lr=1", r"Keys of data\.single_task: name, encoder"),
    ],
)
def test_a_key_that_does_not_exist_is_refused_and_the_others_listed(
    argument: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        config.check_keys(["-m", "arch=cat60", argument])


def test_the_commands_that_the_project_names_have_known_keys() -> None:
    texts = [ROOT / "README.md", ROOT / "Makefile", *ROOT.glob("experiments/*/README.md")]
    commands = [
        line.split("run.py", 1)[1].split("#")[0].split()
        for path in texts
        for line in path.read_text(encoding="utf-8").splitlines()
        if "run.py" in line
    ]
    assert sum(any("=" in word for word in words) for words in commands) > 4
    for words in commands:
        config.check_keys(words)


def test_an_unknown_architecture_lists_the_known_ones() -> None:
    with pytest.raises(MissingConfigException, match=r"(?s)cat10.*cat60.*sum60"):
        composed("arch=cat61")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("recipe.learning_rate=0", "recipe.learning_rate is 0"),
        ("recipe.epochs=-1", "recipe.epochs is -1"),
        ("data.val_fraction=1.5", "data.val_fraction is 1.5"),
        ("data.frame=[240]", "data.frame is"),
        ("data.frame=[50,64]", r"divisible by 8.*nearest that fits is \[48, 64\]"),
        ("evaluation.protocols=[eigen2]", "eigen_fergus"),
        ("data.cache=nowhere.h5", "no such file"),
        ("arch.operation=plus", r"arch.operation is 'plus'.*concatenation, .*data\.plugins"),
        ("evaluation.mute_values=[zero,one]", r"mute_values is 'one'.*mean_map.*data\.plugins"),
        ("seed=-1", "seed is -1"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    override: str, told: str, small_cache: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        config.check(composed("data=nyu", f"data.cache={small_cache}", override))


def test_a_missing_cache_tells_how_to_build_one() -> None:
    with pytest.raises(ConfigError, match="jrn cache nyu"):
        config.check(composed("data=nyu"))


def test_the_rooms_need_no_cache_and_their_settings_are_checked() -> None:
    cfg = composed("single_task@data.single_task=efficientnet_lite0")
    config.check(cfg)
    assert cfg.data.single_task.encoder == "efficientnet_lite0"
    with pytest.raises(ConfigError, match=r"single_task\.folds is 1"):
        config.check(composed("data.single_task.folds=1"))
    with pytest.raises(ConfigError, match=r"data\.single_task is not set"):
        config.check(composed("data.single_task=null"))


def test_the_rooms_of_the_configuration_are_those_of_the_renderer() -> None:
    from jrn_lightning.rooms import RoomsSpec

    # What to render of them is data.modalities.
    assert config.plain(composed().data.rooms) == RoomsSpec().values()


def test_where_results_go_does_not_change_what_they_are(small_cache: Path) -> None:
    base = config.science(composed(f"data.cache={small_cache}"))
    other = composed(
        "data.cache=elsewhere.h5", "logger=none", "output=x", "sweep=y", "data.num_workers=2"
    )
    assert config.science(other) == base
    assert config.science(composed("seed=1")) != base
    assert config.science(composed("arch.fusion_channels=59")) != base


def test_the_choices_are_those_that_are_implemented() -> None:
    def names(enumeration: Any) -> list[str]:
        return [choice.name for choice in enumeration]

    assert list(config.OPERATIONS) == list(OPERATIONS)
    assert names(config.Skip) == list(SKIPS)
    assert config.DEFAULT_NETWORK == DEFAULT
    assert names(config.Initialization) == list(INITIALIZATIONS)
    assert list(config.MUTE_VALUES) == list(MUTE_VALUES)
    assert names(config.Schedule) == list(SCHEDULES)
    assert tuple(PROTOCOLS) == config.PROTOCOLS


EXPERIMENTS: dict[str, dict[str, Any]] = {
    "mute-values": {"mute_values": list(MUTE_VALUES)},
    "oracle-ladder": {"ladder": True},
    "gain": {},
    "three-modalities": {},
    "width-sweep": {"protocols": ["full"], "strata": False},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_are_deltas_that_leave_the_data_open(name: str, small_cache: Path) -> None:
    rooms = composed(f"experiment={name}")
    own = composed(f"experiment={name}", "data=nyu", f"data.cache={small_cache}", "arch=sum60")
    assert (rooms.data.name, own.data.name, own.arch.name) == ("rooms", "nyu", "sum60")
    for cfg in (rooms, own):
        config.check(cfg)
        evaluation = config.plain(cfg.evaluation)
        assert EXPERIMENTS[name].items() <= evaluation.items()
        # Alone it is the usual job: what is muted throughout is for a sweep to vary.
        assert cfg.recipe.muted == []
    sweeps = {"width-sweep": "nyu-widths", "three-modalities": "nyu-three"}
    assert own.sweep == sweeps.get(name, "nyu")
    assert len((ROOT / "conf" / "experiment" / f"{name}.yaml").read_text().splitlines()) <= 20


def test_experiments_can_be_joined(small_cache: Path) -> None:
    """On the same networks: each is an evaluation, or adds networks beside them."""
    cfg = composed(
        "experiment=[nyu-mixed,gain,mute-values,oracle-ladder]", f"data.cache={small_cache}"
    )
    assert (cfg.sweep, cfg.data.frame, cfg.evaluation.ladder) == ("nyu-mixed", [120, 160], True)
    assert len(cfg.evaluation.mute_values) == len(MUTE_VALUES)


def test_composing_does_not_import_torch() -> None:
    code = "import sys, jrn_lightning.training.main; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
