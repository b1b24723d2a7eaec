"""Guest images: what there is, built on first use, kept in a content-addressed cache."""

from kvmlab.images.catalogue import Catalogue, Verdict
from kvmlab.images.image import Image, Progress
from kvmlab.images.sshkey import private_key_path, public_key

__all__ = ["Catalogue", "Image", "Progress", "Verdict", "private_key_path", "public_key"]
