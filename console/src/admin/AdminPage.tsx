export default function AdminPage({ page }: { page: string | undefined }) {
  return <h1>{page}</h1>;
}
