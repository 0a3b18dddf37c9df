/* libjpeg-turbo's decode at 1/8 scale and nothing else, as a peer (mod.rs says how it is talked to):
 * turbo8 FILE...
 *
 * What `djpeg -scale 1/8` does: the library's defaults, RGB or gray rows, which are thrown away. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jpeglib.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static jmp_buf failed;
static char why[JMSG_LENGTH_MAX];

static void fail(j_common_ptr info)
{
    info->err->format_message(info, why);
    longjmp(failed, 1);
}

static void be_quiet(j_common_ptr info)
{
    (void)info;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static unsigned char *read_file(const char *path, unsigned long *length)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        perror(path);
        exit(1);
    }
    *length = (unsigned long)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*length + 1);
    if (!bytes || fread(bytes, 1, *length, file) != *length) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

/* Answers 0, or 1 with the cause in `why`. */
static int decode(const unsigned char *bytes, unsigned long length)
{
    struct jpeg_error_mgr errors;
    struct jpeg_decompress_struct info;
    info.err = jpeg_std_error(&errors);
    errors.error_exit = fail;
    errors.output_message = be_quiet;
    jpeg_create_decompress(&info);
    if (setjmp(failed)) {
        jpeg_destroy_decompress(&info);
        return 1;
    }
    jpeg_mem_src(&info, bytes, length);
    jpeg_read_header(&info, TRUE);
    info.scale_num = 1;
    info.scale_denom = 8;
    jpeg_start_decompress(&info);
    unsigned width = info.output_width * (unsigned)info.output_components;
    JSAMPARRAY row = info.mem->alloc_sarray((j_common_ptr)&info, JPOOL_IMAGE, width, 1);
    while (info.output_scanline < info.output_height)
        jpeg_read_scanlines(&info, row, 1);
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return 0;
}

int main(int count, char **files)
{
    char line[64];
#ifdef LIBJPEG_TURBO_VERSION
    puts("libjpeg-turbo " TEXT(LIBJPEG_TURBO_VERSION));
#else
    puts("a libjpeg that is not libjpeg-turbo");
#endif
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        for (int n = 1; n < count; n++) {
            const char *slash = strrchr(files[n], '/');
            const char *name = slash ? slash + 1 : files[n];
            unsigned long length;
            unsigned char *bytes = read_file(files[n], &length);
            double start = cpu_ms();
            if (decode(bytes, length))
                printf("%s\terror: %s\n", name, why);
            else
                printf("%s\t%.3f\n", name, cpu_ms() - start);
            fflush(stdout);
            free(bytes);
        }
    }
    return 0;
}
