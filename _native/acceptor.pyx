# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Takes connections off a listening socket: one system call each, no socket objects.

What is set on the listening socket (no Nagle delay, keepalive) Linux gives to those accepted
from it, so that nothing is left to be set on them.
"""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from posix.unistd cimport close as c_close

from os import strerror

cdef extern from "<netinet/in.h>" nogil:
    int AF_INET, AF_INET6, SOCK_NONBLOCK, SOCK_CLOEXEC, INET6_ADDRSTRLEN
    ctypedef unsigned short sa_family_t
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr:
        pass
    struct sockaddr_storage:
        sa_family_t ss_family
    struct sockaddr_in:
        unsigned short sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        unsigned short sin6_port
        in6_addr sin6_addr
    unsigned short ntohs(unsigned short number)

cdef extern from "<sys/socket.h>" nogil:
    int accept4(int fd, sockaddr* address, unsigned int* length, int flags)

cdef extern from "<arpa/inet.h>" nogil:
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)


cdef str peer_name(sockaddr_storage* address):
    cdef char text[64]
    cdef sockaddr_in* four = <sockaddr_in*>address
    cdef sockaddr_in6* six = <sockaddr_in6*>address
    if address.ss_family == AF_INET:
        if inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text)) != NULL:
            return f"{text.decode('ascii')}:{ntohs(four.sin_port)}"
    elif address.ss_family == AF_INET6:
        if inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text)) != NULL:
            return f"[{text.decode('ascii')}]:{ntohs(six.sin6_port)}"
    return "unix"


def accept(int listening):
    cdef sockaddr_storage address
    cdef unsigned int length = sizeof(address)
    cdef int fd
    address.ss_family = 0
    fd = accept4(listening, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if errno == EAGAIN or errno == EINTR or errno == ECONNABORTED:
            return None
        raise OSError(errno, strerror(errno))
    try:
        return fd, peer_name(&address)
    except BaseException:
        c_close(fd)
        raise
