"""Patches are cut from a scene in eight orientations; a scene is loaded only if it is the expected one."""

import numpy as np
import pytest
import torch

from lkca.core.files import sha256
from lkca.data.patches import ORIENTATIONS, gather, load_scene
from lkca.errors import StaleInput


def test_orientations_are_all_rotations_and_mirror_images(rng):
    scene = torch.rand(3, 9, 11)
    samples = np.array([[2, 1, i] for i in range(ORIENTATIONS)])
    patches = gather(scene, {"size": 6}, samples, "cpu").numpy()
    patch = scene[:, 2:8, 1:7].numpy()
    expected = [np.rot90(image, k, (1, 2)) for image in (patch, patch[:, :, ::-1]) for k in range(4)]
    assert patches.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert len({patch.tobytes() for patch in patches}) == 8


def test_patches_are_at_their_corners(rng):
    scene = torch.rand(2, 7, 9)
    patches = gather(scene, {"size": 3}, np.array([[0, 0, 0], [4, 6, 0], [1, 5, 0]]), "cpu")
    for patch, (row, column) in zip(patches, [(0, 0), (4, 6), (1, 5)], strict=True):
        assert torch.equal(patch, scene[:, row : row + 3, column : column + 3])


def test_scene_is_loaded_without_writing_to_its_file(tmp_path, rng):
    path, cube = tmp_path / "scene.npy", rng.random((2, 4, 5), np.float32)
    np.save(path, cube)
    digest = sha256(path)
    scene = load_scene(path, digest, "cpu")
    assert np.array_equal(scene.numpy(), cube)
    scene += 1
    assert sha256(path) == digest


def test_changed_scene_is_refused(tmp_path):
    np.save(tmp_path / "scene.npy", np.zeros((2, 4, 5), np.float32))
    with pytest.raises(StaleInput, match="scene.npy has changed"):
        load_scene(tmp_path / "scene.npy", "0" * 64, "cpu")
