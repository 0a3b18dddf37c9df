"""Writes colours.tsv: how colour-managed pictures are to look, by Little CMS. python3 colours.py TRAPS >colours.tsv

A row: a file of the folder TRAPS, and 16x12 sRGB pixels in hexadecimal, row by row, top left first: the whole
picture converted with its own profile, perceptual intent, then shrunk with Lanczos3. Needs: pillow.
"""
import io
import sys

from PIL import Image, ImageCms

FILES = ["t14_cmyk_ycck_swop.jpg", "t29_icc_adobergb.jpg", "t30_icc_p3.jpg", "t31_icc_big_multiseg.jpg"]
SRGB = ImageCms.createProfile("sRGB")

for file in FILES:
    with Image.open(f"{sys.argv[1]}/{file}") as picture:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        srgb = ImageCms.profileToProfile(
            picture, profile, SRGB, renderingIntent=ImageCms.Intent.PERCEPTUAL, outputMode="RGB"
        )
    print(file, srgb.resize((16, 12), Image.Resampling.LANCZOS).tobytes().hex(), sep="\t")
