/* Count the calls to libc that reach files below a folder, and let one of them go wrong.
 *
 * To be preloaded. fault_arm() names the folder, the call and what happens at it; fault_disarm()
 * ends it. Counting is by path and by descriptor: one that was opened below the folder counts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Both as in turns.py. */
enum kind { OPEN, CREATE, READ, WRITE, SYNC, RENAME, LINK, UNLINK, MKDIR, TRUNCATE, CLOSE, LOCK,
            STATUS, CHMOD, LIST };
enum action { COUNT, FAIL, SHORT, TORN, KILL, SIGNAL };

#define MOST_CALLS 65536
#define MOST_DESCRIPTORS 4096

static bool armed;
static char below[PATH_MAX];
static unsigned at, lasting; /* lasting: the kinds, as bits, that fail from there on */
static int action, value;    /* value: an errno or a signal */
static atomic_uint count;
static unsigned char trace[MOST_CALLS];
static bool ours[MOST_DESCRIPTORS];

void fault_arm(const char *folder, int what, int with, unsigned call, unsigned kinds)
{
    strncpy(below, folder, sizeof below - 1);
    action = what, value = with, at = call, lasting = kinds, count = 0;
    memset(ours, 0, sizeof ours);
    armed = true;
}

unsigned fault_disarm(void)
{
    armed = false;
    return count < MOST_CALLS ? count : MOST_CALLS;
}

int fault_call(unsigned number) { return trace[number]; }

static bool is_ours(int descriptor)
{
    return descriptor >= 0 && descriptor < MOST_DESCRIPTORS && ours[descriptor];
}

static bool is_below(int folder, const char *path)
{
    char here[PATH_MAX];
    if (!armed || !path)
        return false;
    if (path[0] != '/') {
        if (folder != AT_FDCWD)
            return is_ours(folder);
        if (!getcwd(here, sizeof here))
            return false;
        path = here;
    }
    size_t length = strlen(below);
    return !strncmp(path, below, length) && (!path[length] || path[length] == '/');
}

/* Count a call; return whether it fails, with errno set. `length` may be halved. */
static bool strikes(bool counts, enum kind kind, size_t *length)
{
    if (!armed || !counts)
        return false;
    unsigned number = atomic_fetch_add(&count, 1);
    if (number < MOST_CALLS)
        trace[number] = kind;
    if (action == TORN && number > at)
        kill(getpid(), SIGKILL);
    if (number < at || (number > at && !(lasting >> kind & 1)))
        return false;
    switch (action) {
    case KILL:
        kill(getpid(), SIGKILL);
        return false;
    case SIGNAL:
        kill(getpid(), value);
        return false;
    case SHORT:
    case TORN:
        if (length && *length > 1)
            *length /= 2;
        return false;
    case FAIL:
        errno = value;
        return true;
    default:
        return false;
    }
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opened(int descriptor, bool counts)
{
    if (descriptor >= 0 && descriptor < MOST_DESCRIPTORS)
        ours[descriptor] = counts;
    return descriptor;
}

#define OPENING(name, parameters, folder, call)                       \
    int name parameters                                               \
    {                                                                 \
        mode_t mode = 0;                                              \
        if (flags & (O_CREAT | __O_TMPFILE)) {                        \
            va_list rest;                                             \
            va_start(rest, flags);                                    \
            mode = va_arg(rest, mode_t);                              \
            va_end(rest);                                             \
        }                                                             \
        bool counts = is_below(folder, path);                         \
        if (strikes(counts, flags & O_CREAT ? CREATE : OPEN, NULL))   \
            return -1;                                                \
        return opened(NEXT(name) call, counts);                       \
    }
OPENING(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENING(openat, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))
OPENING(openat64, (int folder, const char *path, int flags, ...), folder, (folder, path, flags, mode))

#define TRANSFER(result, name, kind, parameters, call)       \
    result name parameters                                   \
    {                                                        \
        if (strikes(is_ours(descriptor), kind, &length))     \
            return -1;                                       \
        return NEXT(name) call;                              \
    }
TRANSFER(ssize_t, read, READ, (int descriptor, void *data, size_t length), (descriptor, data, length))
TRANSFER(ssize_t, pread, READ, (int descriptor, void *data, size_t length, off_t offset),
         (descriptor, data, length, offset))
TRANSFER(ssize_t, pread64, READ, (int descriptor, void *data, size_t length, off64_t offset),
         (descriptor, data, length, offset))
TRANSFER(ssize_t, write, WRITE, (int descriptor, const void *data, size_t length),
         (descriptor, data, length))
TRANSFER(ssize_t, pwrite, WRITE, (int descriptor, const void *data, size_t length, off_t offset),
         (descriptor, data, length, offset))
TRANSFER(ssize_t, pwrite64, WRITE, (int descriptor, const void *data, size_t length, off64_t offset),
         (descriptor, data, length, offset))

/* A short one: the first half of the vectors, or of the only one. */
#define VECTORS(name, kind, parameters, call)                             \
    ssize_t name parameters                                               \
    {                                                                     \
        size_t length = number > 1 ? (size_t)number : vectors[0].iov_len; \
        if (strikes(is_ours(descriptor), kind, &length))                  \
            return -1;                                                    \
        struct iovec first = vectors[0];                                  \
        if (number > 1) {                                                 \
            number = (int)length;                                         \
        } else {                                                          \
            first.iov_len = length;                                       \
            vectors = &first;                                             \
        }                                                                 \
        return NEXT(name) call;                                           \
    }
VECTORS(readv, READ, (int descriptor, const struct iovec *vectors, int number),
        (descriptor, vectors, number))
VECTORS(writev, WRITE, (int descriptor, const struct iovec *vectors, int number),
        (descriptor, vectors, number))
VECTORS(preadv, READ, (int descriptor, const struct iovec *vectors, int number, off_t offset),
        (descriptor, vectors, number, offset))
VECTORS(preadv64, READ, (int descriptor, const struct iovec *vectors, int number, off64_t offset),
        (descriptor, vectors, number, offset))
VECTORS(preadv2, READ, (int descriptor, const struct iovec *vectors, int number, off_t offset, int how),
        (descriptor, vectors, number, offset, how))
VECTORS(preadv64v2, READ,
        (int descriptor, const struct iovec *vectors, int number, off64_t offset, int how),
        (descriptor, vectors, number, offset, how))
VECTORS(pwritev, WRITE, (int descriptor, const struct iovec *vectors, int number, off_t offset),
        (descriptor, vectors, number, offset))
VECTORS(pwritev64, WRITE, (int descriptor, const struct iovec *vectors, int number, off64_t offset),
        (descriptor, vectors, number, offset))
VECTORS(pwritev2, WRITE, (int descriptor, const struct iovec *vectors, int number, off_t offset, int how),
        (descriptor, vectors, number, offset, how))
VECTORS(pwritev64v2, WRITE,
        (int descriptor, const struct iovec *vectors, int number, off64_t offset, int how),
        (descriptor, vectors, number, offset, how))

#define CALL(result, failure, name, kind, counts, parameters, call) \
    result name parameters                                          \
    {                                                               \
        if (strikes(counts, kind, NULL))                            \
            return failure;                                         \
        return NEXT(name) call;                                     \
    }
#define OF_DESCRIPTOR(name, kind) \
    CALL(int, -1, name, kind, is_ours(descriptor), (int descriptor), (descriptor))
OF_DESCRIPTOR(fsync, SYNC)
OF_DESCRIPTOR(fdatasync, SYNC)
CALL(int, -1, ftruncate, TRUNCATE, is_ours(descriptor), (int descriptor, off_t size), (descriptor, size))
CALL(int, -1, ftruncate64, TRUNCATE, is_ours(descriptor), (int descriptor, off64_t size),
     (descriptor, size))
CALL(int, -1, flock, LOCK, is_ours(descriptor), (int descriptor, int how), (descriptor, how))
CALL(int, -1, fchmod, CHMOD, is_ours(descriptor), (int descriptor, mode_t mode), (descriptor, mode))
CALL(int, -1, fstat, STATUS, is_ours(descriptor), (int descriptor, struct stat *status),
     (descriptor, status))
CALL(int, -1, fstat64, STATUS, is_ours(descriptor), (int descriptor, struct stat64 *status),
     (descriptor, status))

#define OF_PATH(name, kind, parameters, call) \
    CALL(int, -1, name, kind, is_below(AT_FDCWD, path), parameters, call)
OF_PATH(rename, RENAME, (const char *path, const char *to), (path, to))
OF_PATH(link, LINK, (const char *path, const char *to), (path, to))
OF_PATH(unlink, UNLINK, (const char *path), (path))
OF_PATH(rmdir, UNLINK, (const char *path), (path))
OF_PATH(mkdir, MKDIR, (const char *path, mode_t mode), (path, mode))
OF_PATH(chmod, CHMOD, (const char *path, mode_t mode), (path, mode))
OF_PATH(stat, STATUS, (const char *path, struct stat *status), (path, status))
OF_PATH(stat64, STATUS, (const char *path, struct stat64 *status), (path, status))
OF_PATH(lstat, STATUS, (const char *path, struct stat *status), (path, status))
OF_PATH(lstat64, STATUS, (const char *path, struct stat64 *status), (path, status))
CALL(int, -1, fstatat, STATUS, is_below(folder, path),
     (int folder, const char *path, struct stat *status, int how), (folder, path, status, how))
CALL(int, -1, fstatat64, STATUS, is_below(folder, path),
     (int folder, const char *path, struct stat64 *status, int how), (folder, path, status, how))
CALL(int, -1, renameat, RENAME, is_below(folder, path),
     (int folder, const char *path, int other, const char *to), (folder, path, other, to))
CALL(int, -1, renameat2, RENAME, is_below(folder, path),
     (int folder, const char *path, int other, const char *to, unsigned how),
     (folder, path, other, to, how))
CALL(int, -1, linkat, LINK, is_below(folder, path),
     (int folder, const char *path, int other, const char *to, int how),
     (folder, path, other, to, how))
CALL(int, -1, unlinkat, UNLINK, is_below(folder, path), (int folder, const char *path, int how),
     (folder, path, how))
CALL(int, -1, mkdirat, MKDIR, is_below(folder, path), (int folder, const char *path, mode_t mode),
     (folder, path, mode))
OF_PATH(access, STATUS, (const char *path, int how), (path, how))
CALL(int, -1, faccessat, STATUS, is_below(folder, path),
     (int folder, const char *path, int mode, int how), (folder, path, mode, how))
CALL(ssize_t, -1, readlink, STATUS, is_below(AT_FDCWD, path),
     (const char *path, char *target, size_t size), (path, target, size))
CALL(DIR *, NULL, fdopendir, LIST, is_ours(descriptor), (int descriptor), (descriptor))
CALL(struct dirent64 *, NULL, readdir64, LIST, is_ours(dirfd(listed)), (DIR *listed), (listed))

DIR *opendir(const char *path)
{
    bool counts = is_below(AT_FDCWD, path);
    if (strikes(counts, LIST, NULL))
        return NULL;
    DIR *listed = NEXT(opendir)(path);
    if (listed)
        opened(dirfd(listed), counts);
    return listed;
}

int close(int descriptor)
{
    bool counts = is_ours(descriptor);
    bool fails = strikes(counts, CLOSE, NULL);
    int failure = errno;
    opened(descriptor, false);
    int result = NEXT(close)(descriptor); /* Linux closes it whatever it returns */
    if (fails)
        errno = failure;
    return fails ? -1 : result;
}
