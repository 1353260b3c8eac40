export default function DevicePage({ device }: { device: string }) {
  return <h1>{device}</h1>;
}
