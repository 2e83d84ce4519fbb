// GoogleCloudStorage: an ObjectStore on the JSON and XML APIs.
