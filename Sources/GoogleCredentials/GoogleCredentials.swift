// GoogleCredentials: the kinds of Google credentials and their refresh.
