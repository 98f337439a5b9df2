"""Ways to break a sound series of slices, and the one reason that each must be refused with."""

from copy import deepcopy

import numpy as np

from imaging.identity import derived_uid


def inner(images, random):
    return int(random.integers(1, len(images) - 1))


def drop(images, random):
    del images[inner(images, random)]


def repeat(images, random):
    again = deepcopy(images[int(random.integers(len(images)))])
    again.SOPInstanceUID = derived_uid("again", again.SOPInstanceUID)
    images.append(again)


def place_on_another(images, random):
    one, other = random.choice(len(images), 2, replace=False)
    images[one].ImagePositionPatient = images[other].ImagePositionPatient


def move_along(images, random):
    image = images[inner(images, random)]
    orientation = np.array(image.ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    gap = np.linalg.norm(
        np.subtract(images[1].ImagePositionPatient, images[0].ImagePositionPatient)
    )
    shift = normal * gap * random.uniform(0.3, 0.4) * random.choice((-1, 1))
    image.ImagePositionPatient = list(np.array(image.ImagePositionPatient, float) + shift)


def move_beside(images, random):
    image = images[inner(images, random)]
    row = np.array(image.ImageOrientationPatient[:3], float)
    pixel = max(image.PixelSpacing)
    image.ImagePositionPatient = list(np.array(image.ImagePositionPatient, float) + row * pixel * 2)


def rotate(images, random):
    image = images[int(random.integers(len(images)))]
    o = np.array(image.ImageOrientationPatient, float)
    angle = np.radians(random.uniform(0.5, 90))
    column = o[3:] * np.cos(angle) + np.cross(o[:3], o[3:]) * np.sin(angle)
    image.ImageOrientationPatient = [*o[:3], *column]


def flip(images, random):
    image = images[int(random.integers(len(images)))]
    o = np.array(image.ImageOrientationPatient, float)
    image.ImageOrientationPatient = [*-o[:3], *o[3:]]


def other_patient(images, random):
    images[int(random.integers(len(images)))].PatientID = "SOMEONE-ELSE"


def other_frame(images, random):
    images[int(random.integers(len(images)))].FrameOfReferenceUID = "1.2.3.4"


def other_size(images, random):
    images[int(random.integers(len(images)))].Rows = 4


def other_spacing(images, random):
    image = images[int(random.integers(len(images)))]
    image.PixelSpacing = [value * 1.1 for value in image.PixelSpacing]


def other_echo(images, random):
    images[int(random.integers(len(images)))].EchoTime = "123"


BREAKS = {
    drop: {"MISSING_SLICES"},
    repeat: {"DUPLICATE_SLICES"},
    place_on_another: {"DUPLICATE_SLICES"},
    move_along: {"UNEVEN_SPACING"},
    move_beside: {"NOT_ALIGNED"},
    rotate: {"MIXED_ORIENTATION"},
    flip: {"MIXED_ORIENTATION"},
    other_patient: {"MIXED_PATIENTS"},
    other_frame: {"MIXED_FRAME_OF_REFERENCE"},
    other_size: {"MIXED_SIZE"},
    other_spacing: {"MIXED_SPACING"},
    other_echo: {"MIXED_KIND"},
}
