"""Pillow and pyvips, as peers (mod.rs says how they are talked to): pillow_vips.py plain|vips [--out DIR] FILE...

plain: what the reference architecture's worker does: a full decode, then two thumbnails.
vips:  shrinks while it decodes, the thumbnail made from the resized picture; the fastest way known to us.
--out: keeps the resized pictures, for tests that compare quality.
"""
import io
import os
import sys
import time

mode, *files = sys.argv[1:]
out = None
if files[0] == "--out":
    _, out, *files = files

if mode == "vips":
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips

    pyvips.cache_set_max(0)
    versions = "pyvips {}, libvips {}.{}.{}".format(pyvips.__version__, *map(pyvips.version, range(3)))
else:
    import PIL
    from PIL import Image, ImageOps, features

    Image.MAX_IMAGE_PIXELS = None
    versions = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"


def vips(data):
    resized = pyvips.Image.thumbnail_buffer(data, 1024, height=768, size="down").copy_memory()
    thumb = resized.thumbnail_image(192, height=192, size="down")
    return [image.jpegsave_buffer(Q=82, keep="icc") for image in (resized, thumb)]


def plain(data):
    image = Image.open(io.BytesIO(data))
    icc = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    image.thumbnail((1024, 768), Image.LANCZOS)
    thumb = image.copy()
    thumb.thumbnail((192, 192), Image.LANCZOS)
    return [coded(image, icc), coded(thumb, icc)]


def coded(image, icc):
    buffer = io.BytesIO()
    options = {"icc_profile": icc} if icc else {}
    image.save(buffer, "JPEG", quality=82, subsampling="4:2:0", exif=b"", **options)
    return buffer.getvalue()


render = {"plain": plain, "vips": vips}[mode]
print(versions, flush=True)
for _ in sys.stdin:
    for file in files:
        name = os.path.basename(file)
        with open(file, "rb") as opened:
            data = opened.read()
        start = time.process_time()
        try:
            resized, _thumb = render(data)
        except Exception as error:
            print(f"{name}\terror: {str(error).splitlines()[0]}", flush=True)
            continue
        print(f"{name}\t{(time.process_time() - start) * 1e3:.3f}", flush=True)
        if out:
            with open(os.path.join(out, name), "wb") as kept:
                kept.write(resized)
