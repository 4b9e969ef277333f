/* TLS for connections that want it: nothing is verified, the certificate is one of this very run. */
#include "load.h"

#include <errno.h>

#ifdef WITH_TLS

#include <openssl/ssl.h>

/* A TLS client on a connected socket. */
void *tls_start(int fd)
{
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                      | SSL_MODE_RELEASE_BUFFERS);
    }
    SSL *tls = context ? SSL_new(context) : NULL;
    if (!tls || !SSL_set_fd(tls, fd)) {
        errno = ENOMEM;
        die("TLS");
    }
    SSL_set_connect_state(tls);
    return tls;
}

/* As recv(2) and send(2) return: -1 with EAGAIN if the socket must be waited for, 0 at the end or if TLS broke. */
static ssize_t outcome(SSL *tls, int n)
{
    if (n > 0)
        return n;
    int problem = SSL_get_error(tls, n);
    if (problem != SSL_ERROR_WANT_READ && problem != SSL_ERROR_WANT_WRITE)
        return 0;
    errno = EAGAIN;
    return -1;
}

ssize_t tls_handshake(void *tls)
{
    return outcome(tls, SSL_do_handshake(tls));
}

ssize_t tls_send(void *tls, const void *bytes, size_t length)
{
    return outcome(tls, SSL_write(tls, bytes, (int)length));
}

ssize_t tls_recv(void *tls, void *bytes, size_t length)
{
    return outcome(tls, SSL_read(tls, bytes, (int)length));
}

void tls_free(void *tls)
{
    SSL_free(tls);
}

#else

static ssize_t absent(void)
{
    errno = ENOTSUP;
    die("compiled without TLS");
    return 0;
}

void *tls_start(int fd) { (void)fd; absent(); return NULL; }
ssize_t tls_handshake(void *tls) { (void)tls; return absent(); }
ssize_t tls_send(void *tls, const void *bytes, size_t length) { (void)tls, (void)bytes, (void)length; return absent(); }
ssize_t tls_recv(void *tls, void *bytes, size_t length) { (void)tls, (void)bytes, (void)length; return absent(); }
void tls_free(void *tls) { (void)tls; }

#endif
