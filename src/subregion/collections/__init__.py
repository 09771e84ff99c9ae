"""Collections: folders of files, COCO and kwcoco datasets, videos of a dataset, frames of a video file."""
