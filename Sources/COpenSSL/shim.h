// OpenSSL's libcrypto. EVP cannot save a hash state; the low-level SHA calls can, and are deprecated for other reasons.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
