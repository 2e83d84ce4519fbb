// libcurl. Swift cannot call variadic functions; typed setters and getters stand here.
#pragma once
#include <curl/curl.h>
