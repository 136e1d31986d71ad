"""Data sets of a few tiny frames, in exactly the layout of their publishers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from PIL import Image

from jrn_lightning.importers.labels import space

Array = np.ndarray[Any, np.dtype[Any]]
SIZE = (16, 24)
VOID = 255


class Made(NamedTuple):
    """Ground truth that was written, as a cache has it."""

    depth: Array
    label: Array


def save(path: Path, array: Array) -> None:
    """A picture, or .npy, or .hdf5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file["dataset"] = array
    else:
        Image.fromarray(array).save(path)


def scene_of(n: int, classes: int, size: tuple[int, int] = SIZE) -> tuple[Array, Made]:
    """Image, depth with a missing corner, and labels with a void column, of frame ``n``."""
    rng = np.random.default_rng(n)
    ramp = np.linspace(3.0, 8.5, size[1])[None].repeat(size[0], 0)
    depth = (ramp + rng.uniform(0, 1, (size[0], 1))).astype(np.float32)
    label = rng.integers(0, classes, size).astype(np.uint8)
    label.flat[: min(classes, label.size)] = np.arange(min(classes, label.size))
    depth[:3, :3], label[:, -1] = 0, VOID
    image = np.stack([depth * 25, label % 7 * 30.0, np.full(size, 20.0 * n % 255)], -1)
    return image.astype(np.uint8), Made(depth, label)


def normals_of(made: Made) -> Array:
    """Normals ``(h, w, 3)``, x to the right, y down, z forward, missing where depth is.

    They face the camera, differ from pixel to pixel, and no two axes are alike.
    """
    y, x = np.mgrid[: made.depth.shape[0], : made.depth.shape[1]] / max(made.depth.shape)
    vectors = np.stack([0.3 + 0.2 * x, -0.6 + 0.1 * y, np.full_like(x, -0.9)], -1)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(made.depth[..., None] > 0, vectors, 0)


def edges_of(made: Made) -> Array:
    """1 where the class changes along a row."""
    return np.diff(made.label, axis=1, append=made.label[:, -1:]) != 0


def _ids(made: Made, first: int, void: int) -> Array:
    return np.where(made.label == VOID, void, made.label.astype(np.int32) + first)


def _members(name: str, made: Made, void: int) -> Array:
    """Ids of the space that ``name`` merges, one of each class."""
    first = [int(members[0]) for members in space(name).members.values()]
    return np.where(
        made.label == VOID, void, np.array([*first, void])[made.label.clip(max=len(first))]
    )


def cityscapes(root: Path) -> dict[str, Made]:
    found = {}
    frames = [
        ("train", "aachen", 0),
        ("train", "ulm", 7),
        ("val", "frankfurt", 1),
        ("val", "munster", 2),
    ]
    for n, (split, city, sequence) in enumerate(frames):
        stem = f"{city}_{sequence:06d}_000019"
        image, made = scene_of(n, 19)
        save(root / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png", image)
        focal, baseline = 2262.52 + n, 0.209313
        disparity = focal * baseline / np.where(made.depth > 0, made.depth, np.inf)
        stored = np.where(made.depth > 0, np.rint(disparity * 256 + 1), 0).astype(np.uint16)
        save(root / f"disparity/{split}/{city}/{stem}_disparity.png", stored)
        labels = _members("cityscapes19", made, 3).astype(np.uint8)
        save(root / f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png", labels)
        camera = root / f"camera/{split}/{city}/{stem}_camera.json"
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(
            json.dumps(
                {"extrinsic": {"baseline": baseline}, "intrinsic": {"fx": focal, "fy": 2265.3}}
            )
        )
        found[f"{city}/{stem}"] = made
    return found


def mtan_nyu(root: Path) -> dict[str, Made]:
    found = {}
    for n in range(4):
        split, i = ("train", "val")[n // 2], n % 2
        image, made = scene_of(n, 13)
        save(root / f"{split}/image/{i}.npy", image.astype(np.float64) / 255)
        save(root / f"{split}/depth/{i}.npy", made.depth[..., None])
        save(root / f"{split}/label/{i}.npy", _ids(made, 0, -1).astype(np.float32))
        found[f"{split}/{i}"] = made
    return found


def nyud_mt(root: Path) -> dict[str, Made]:
    found = {}
    for n in range(4):
        image, made = scene_of(n, 40)
        save(root / f"images/{n + 1}.jpg", image)
        save(root / f"depth/{n + 1}.npy", made.depth)
        save(root / f"edge/{n + 1}.npy", edges_of(made).astype(np.float32))
        save(root / f"segmentation/{n + 1}.png", _ids(made, 1, 0).astype(np.uint8))
        found[f"{n + 1}"] = made
    (root / "gt_sets").mkdir()
    (root / "gt_sets/train.txt").write_text("1\n2\n")
    (root / "gt_sets/val.txt").write_text("3\n4\n")
    return found


def scannet(root: Path) -> dict[str, Made]:
    found = {}
    scenes = ["0000_00", "0001_00", "0001_01", "0002_00"]
    with_ids = {1: 1, 2: 3, 21: 4, 1163: 40}  # ScanNet id -> nyu40 id
    for n, scene in enumerate(scenes):
        folder = root / f"scannet_frames_25k/scene{scene}"
        image, made = scene_of(n, 4)
        save(folder / f"color/{n:06d}.jpg", np.repeat(np.repeat(image, 2, 0), 2, 1))
        save(folder / f"depth/{n:06d}.png", np.rint(made.depth * 1000).astype(np.uint16))
        raw = np.array([*with_ids, 0])[made.label.clip(max=4)].astype(np.uint16)
        save(folder / f"label/{n:06d}.png", np.repeat(np.repeat(raw, 2, 0), 2, 1))
        nyu40 = np.array([*with_ids.values()]) - 1
        label = np.where(made.label == VOID, VOID, nyu40[made.label.clip(max=3)])
        found[f"scene{scene}/{n:06d}"] = Made(made.depth, label.astype(np.uint8))
    rows = "".join(f"{a}\tname {a}\t{b}\n" for a, b in with_ids.items())
    (root / "scannetv2-labels.combined.tsv").write_text("id\traw_category\tnyu40id\n" + rows)
    (root / "scannetv2_train.txt").write_text("scene0000_00\nscene0001_00\nscene0001_01\n")
    (root / "scannetv2_val.txt").write_text("scene0002_00\n")
    return found


def hypersim(root: Path) -> dict[str, Made]:
    found, rows = {}, []
    for n, split in enumerate(("train", "train", "val", "test")):
        scene, stem = f"ai_00{n + 1}_001", f"frame.{n:04d}"
        image, made = scene_of(n, 40)
        folder = root / scene / "images"
        save(folder / f"scene_cam_00_final_preview/{stem}.tonemap.jpg", image)
        geometry = folder / "scene_cam_00_geometry_hdf5"
        h, w = SIZE
        y, x = np.mgrid[:h, :w]
        ray = np.sqrt(886.81**2 + (x - (w - 1) / 2) ** 2 + (y - (h - 1) / 2) ** 2) / 886.81
        distance = np.where(made.depth > 0, made.depth * ray, np.nan)
        save(geometry / f"{stem}.depth_meters.hdf5", distance.astype(np.float32))
        save(geometry / f"{stem}.semantic.hdf5", _ids(made, 1, -1).astype(np.int16))
        upward = normals_of(made) * [1, -1, -1]
        upward[made.depth == 0] = np.nan
        save(geometry / f"{stem}.normal_cam.hdf5", upward.astype(np.float16))
        found[f"{scene}/cam_00/{n:04d}"] = made
        rows.append((scene, "cam_00", n, "True", "", split))
    with (root / "metadata_images_split_scene_v1.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        head = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason"
        writer.writerow([*head.split(","), "split_partition_name"])
        writer.writerows(rows)
    return found


def virtual_kitti_2(root: Path) -> dict[str, Made]:
    found = {}
    colors = np.array([*space("vkitti14").colors, (0, 0, 0)], np.uint8)
    for n, scene in enumerate(("Scene01", "Scene02", "Scene06", "Scene20")):
        image, made = scene_of(n, 14)
        frames = root / scene / "clone/frames"
        save(frames / f"rgb/Camera_0/rgb_{n:05d}.jpg", image)
        stored = np.where(made.depth > 0, np.rint(made.depth * 100), 65535).astype(np.uint16)
        save(frames / f"depth/Camera_0/depth_{n:05d}.png", stored)
        picture = colors[made.label.clip(max=14)]
        save(frames / f"classSegmentation/Camera_0/classgt_{n:05d}.png", picture)
        found[f"{scene}/{n:05d}"] = made
    return found


def kitti(root: Path) -> dict[str, Made]:
    found = {}
    for n in (0, 1, 160, 199):
        image, made = scene_of(n, 19)
        folder = root / "training"
        save(folder / f"image_2/{n:06d}_10.png", image)
        focal = 721.5377 - n / 100
        disparity = focal * 0.54 / np.where(made.depth > 0, made.depth, np.inf)
        save(folder / f"disp_occ_0/{n:06d}_10.png", np.rint(disparity * 256).astype(np.uint16))
        save(
            folder / f"semantic/{n:06d}_10.png", _members("cityscapes19", made, 4).astype(np.uint8)
        )
        camera = folder / f"calib_cam_to_cam/{n:06d}.txt"
        camera.parent.mkdir(exist_ok=True)
        camera.write_text(
            f"calib_time: 09-Jan-2012 13:57:47\nP_rect_02: {focal} 0 609.5 44.8 0 7.2\n"
        )
        found[f"{n:06d}"] = made
    return found


def taskonomy(root: Path) -> dict[str, Made]:
    found, rows = {}, ["id,train,test,val"]
    for n, (building, split) in enumerate(
        {"ackerly": 0, "allensville": 0, "almena": 2, "anaheim": 1}.items()
    ):
        image, made = scene_of(n, 17)
        stem = f"point_{n}_view_0"
        save(root / f"rgb/{building}/{stem}_domain_rgb.png", image)
        stored = np.where(made.depth > 0, np.rint(made.depth * 512), 65535).astype(np.uint16)
        save(root / f"depth_zbuffer/{building}/{stem}_domain_depth_zbuffer.png", stored)
        # (127, 127, 127), almost no length, where nothing is.
        normals = ((normals_of(made) * [1, 1, -1] + 1) * 127.5).astype(np.uint8)
        save(root / f"normal/{building}/{stem}_domain_normal.png", normals)
        label = _ids(made, 1, 0).astype(np.uint8)
        save(root / f"segment_semantic/{building}/{stem}_domain_segmentsemantic.png", label)
        found[f"{building}/{stem}"] = made
        rows.append(",".join([building, *(str(int(split == k)) for k in range(3))]))
    (root / "train_val_test_fullplus.csv").write_text("\n".join(rows) + "\n")
    return found


def sun_rgbd(root: Path) -> dict[str, Made]:
    found = {}
    places = [
        "kv1/NYUdata/NYU0001",
        "kv2/kinect2data/000002_a",
        "xtion/sun3ddata/b/b/0001",
        "realsense/sa/c",
    ]
    for n, place in enumerate(places):
        image, made = scene_of(n, 37)
        folder = root / "SUNRGBD" / place
        save(folder / f"image/{n:07d}.jpg", image)
        p = np.rint(made.depth * 1000).astype(np.uint16)
        save(folder / f"depth_bfx/{n:07d}.png", (p << 3) | (p >> 13))
        save(folder / "label/label.npy", _ids(made, 1, 0).astype(np.uint8))
        found[place] = made
    (root / "train.txt").write_text("\n".join(places[:2]))
    (root / "test.txt").write_text("\n".join(places[2:]))
    return found


def replica(root: Path) -> dict[str, Made]:
    found = {}
    for n, scene in enumerate(("office_0", "room_0", "office_4", "room_2")):
        image, made = scene_of(n, 101)
        folder = root / scene / "Sequence_1"
        save(folder / f"rgb/rgb_{n}.png", image)
        save(folder / f"depth/depth_{n}.png", np.rint(made.depth * 1000).astype(np.uint16))
        label = _ids(made, 1, 0).astype(np.uint8)
        save(folder / f"semantic_class/semantic_class_{n}.png", label)
        found[f"{scene}/1/{n}"] = made
    return found


def ultralytics_depth(root: Path) -> dict[str, Made]:
    found = {}
    for n in range(4):
        split, name = ("train", "val")[n // 2], f"home/scene_{n:03d}"
        image, made = scene_of(n, 5)
        save(root / f"images/{split}/{name}.{('jpg', 'png')[n % 2]}", image)
        save(root / f"depth/{split}/{name}.npy", np.where(made.depth > 0, made.depth, -1))
        found[name] = made
    return found


#: preset -> what writes it, and the frames of its test split
PRESETS: dict[str, tuple[Callable[[Path], dict[str, Made]], int]] = {
    "cityscapes": (cityscapes, 2),
    "hypersim": (hypersim, 1),
    "kitti": (kitti, 2),
    "mtan-nyu": (mtan_nyu, 2),
    "nyud-mt": (nyud_mt, 2),
    "replica": (replica, 2),
    "scannet": (scannet, 1),
    "sun-rgbd": (sun_rgbd, 2),
    "taskonomy": (taskonomy, 1),
    "ultralytics-depth": (ultralytics_depth, 2),
    "virtual-kitti-2": (virtual_kitti_2, 1),
}
