"""File names, addresses, hashes and splits of the image sets; `data/README.md` lists them for readers.

A file's hash is that of the original distribution. A hash of pixels covers the unpacked bytes in the order image,
channel, row, column, so that it holds for every file format.
"""

from dataclasses import dataclass

from snf_lite.data.image_files import Shape

__all__ = ["IMAGE_SETS", "SPLITS", "ImageSet", "Part"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Part:
    """The images of one original file.

    Attributes:
        files: possible names in a local folder, fastest to read first.
        count: number of images.
        pixels: SHA-256 of the unpacked pixels.
        url: address of the original.
        sha256: SHA-256 of the original, as downloaded.
        size: number of bytes of the original, as downloaded.
        member: file inside, if the original is an archive.
    """

    files: tuple[str, ...]
    count: int
    pixels: str
    url: str
    sha256: str
    member: str = ""
    size: int = 2**28


@dataclass(frozen=True)
class ImageSet:
    """An image set: its shape (C, H, W), and for every split its parts and their rows."""

    shape: Shape
    splits: dict[str, tuple[tuple[Part, ...], slice]]


def _idx_part(base: str, prefix: str, array: str, count: int, pixels: str, sha256: str, size: int) -> Part:
    idx = f"{prefix}-images-idx3-ubyte"
    files = (f"{array}.npy", idx, f"{idx}.gz", f"{array}.npy.xz")
    return Part(files, count, pixels, f"{base}{idx}.gz", sha256, size=size)


def _idx_set(train: Part, test: Part) -> ImageSet:
    """MNIST's splits: validation is the last 10,000 images of the training file, as in the paper."""
    return ImageSet(
        (1, 28, 28),
        {
            "train": ((train,), slice(0, 50_000)),
            "validation": ((train,), slice(50_000, 60_000)),
            "test": ((test,), slice(None)),
        },
    )


def _cifar_part(array: str, batch: str, pixels: str) -> Part:
    archive, sha256 = "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
    files = (f"{array}.npy", batch, f"{array}.npy.xz", archive)
    url = f"https://www.cs.toronto.edu/~kriz/{archive}"
    return Part(files, 10_000, pixels, url, sha256, f"cifar-10-batches-py/{batch}", 170_498_071)


_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

_CIFAR_TRAINING = tuple(
    _cifar_part(f"train_images_{number}", f"data_batch_{number}", pixels)
    for number, pixels in enumerate(
        (
            "a50e8b48728e1667d682a807155c375279d5ae321fb12242c02e3104a6bc8b21",
            "0b825e5592c3b72ea18d6ec2ff5f5b19d33e41a75f5039054a9bb87be3cf69a0",
            "c6ee1dd4601a69ec085d8ebf53ee6441775491a6839a0a9ae8fa198e88a3a429",
            "1f6b6c799cff375a9f8fae2fac909d51ee09f38a6a60eebb9e8fec6f47ddc48f",
            "58e3bbf713e28357476a351d3a05d056372f94c681d04ca9d62a076fdf2a643b",
        ),
        start=1,
    )
)
_CIFAR_TEST = _cifar_part(
    "test_images", "test_batch", "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56"
)

IMAGE_SETS = {
    "mnist": _idx_set(
        _idx_part(
            _MNIST,
            "train",
            "train_images",
            60_000,
            pixels="741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            size=9_912_422,
        ),
        _idx_part(
            _MNIST,
            "t10k",
            "test_images",
            10_000,
            pixels="6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            size=1_648_877,
        ),
    ),
    "fashion_mnist": _idx_set(
        _idx_part(
            _FASHION,
            "train",
            "train_images",
            60_000,
            pixels="2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            size=26_421_880,
        ),
        _idx_part(
            _FASHION,
            "t10k",
            "test_images",
            10_000,
            pixels="c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            size=4_422_102,
        ),
    ),
    "cifar10": ImageSet(
        (3, 32, 32),
        {
            "train": (_CIFAR_TRAINING[:4], slice(None)),
            "validation": (_CIFAR_TRAINING[4:], slice(None)),
            "test": ((_CIFAR_TEST,), slice(None)),
        },
    ),
}
