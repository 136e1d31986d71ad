"""Does one modality help to predict another, in which direction, and by how much?"""
