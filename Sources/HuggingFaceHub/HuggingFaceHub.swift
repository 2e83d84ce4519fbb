// HuggingFaceHub: repositories, revisions, trees, and a RangedSource per file.
